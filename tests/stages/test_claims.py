"""A piece of work has one holder, on one machine and on many; what a killed process had is free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from nnbox.errors import LostClaimError, ResourceError
from nnbox.stages import claims as claims_module
from nnbox.stages.claims import Claim, Claims, Refusal
from nnbox.stages.file_system import Locking, locking, machine

DISK = Locking(exclusive=True, local=True)
NETWORK = Locking(exclusive=True, local=False)
NO_LOCKS = Locking(exclusive=False, local=False)

# Claims "unit" as a machine of the given name would, says so, and lives until it is told to end or is killed.
_OTHER = """
import sys
from pathlib import Path
from nnbox.stages import claims
from nnbox.stages.file_system import Locking
folder, exclusive, local, name = sys.argv[1:]
claims.machine = lambda: name
found = Locking(exclusive=exclusive == "1", local=local == "1")
answer = claims.Claims(Path(folder), found, beat_seconds=0.1, stale_seconds=1.5).attempt("unit", "a note")
print(type(answer).__name__, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times that a test can wait for."""
    monkeypatch.setattr(claims_module, "_SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(claims_module, "POLL_SECONDS", 0.05)


@pytest.fixture
def other(tmp_path):
    """Start another process that claims the unit; it is ended with the test."""
    started = []

    def start(found, name="elsewhere"):
        words = [str(tmp_path), str(int(found.exclusive)), str(int(found.local)), name]
        process = subprocess.Popen(
            [sys.executable, "-c", _OTHER, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        process.said = process.stdout.readline().strip()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ours(tmp_path):
    """Claims of this process on a file system of a kind; their heartbeats end with the test."""
    opened = []

    def open_claims(found):
        opened.append(Claims(tmp_path, found, beat_seconds=0.1, stale_seconds=1.5))
        return opened[-1]

    yield open_claims
    for item in opened:
        item.close()


def until_known(claims, work="unit"):
    while isinstance(answer := claims.attempt(work), Refusal) and not answer.lives:
        time.sleep(0.05)
    return answer


@pytest.mark.parametrize("found", [DISK, NETWORK, NO_LOCKS], ids=["disk", "network", "no locks"])
def test_what_another_process_has_is_refused_and_its_holder_named(ours, other, found):
    process = other(found)
    assert process.said == "Claim"
    refusal = until_known(ours(found))
    assert isinstance(refusal, Refusal)
    assert (refusal.holder.process, refusal.holder.note) == (process.pid, "a note")
    assert str(process.pid) in refusal.sentence()
    assert ours(found).look("unit") is not None


def test_on_one_machine_a_killed_process_leaves_its_work_at_once_whatever_its_container_was_called(ours, other):
    claims = ours(DISK)
    process = other(DISK, "another container")
    assert isinstance(claims.attempt("unit"), Refusal)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert isinstance(claims.attempt("unit"), Claim)


def test_on_a_shared_file_system_what_was_killed_on_this_very_machine_is_free_at_once(ours, other):
    claims = ours(NETWORK)
    process = other(NETWORK, machine())
    process.kill()
    process.wait()
    assert isinstance(claims.attempt("unit"), Claim)


@pytest.mark.parametrize("found", [NETWORK, NO_LOCKS], ids=["network", "no locks"])
def test_what_was_killed_on_another_machine_is_free_once_its_heart_stands_still(ours, other, found):
    claims = ours(found)
    process = other(found)
    process.kill()
    process.wait()
    first = claims.attempt("unit")
    assert isinstance(first, Refusal)
    assert not first.lives
    assert isinstance(until_known(claims), Claim)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_jumps_takes_no_work_away_from_the_living(ours, other, tmp_path, hours):
    """The file system's clock is moved by dating heartbeats back, or into the future."""
    other(NETWORK)
    claims = ours(NETWORK)
    record = tmp_path / "unit.json"
    moved = time.time() + 3600 * hours
    for _ in range(10):
        os.utime(record, (moved, moved))
        assert isinstance(claims.attempt("unit"), Refusal)
        time.sleep(0.05)


@pytest.mark.parametrize("hours", [-3, 3])
def test_an_old_heartbeat_and_one_dated_into_the_future_do_not_hold_for_ever(ours, other, tmp_path, hours):
    process = other(NETWORK)
    process.kill()
    process.wait()
    moved = time.time() + 3600 * hours
    os.utime(tmp_path / "unit.json", (moved, moved))
    assert isinstance(until_known(ours(NETWORK)), Claim)


def test_who_was_taken_for_dead_is_told(ours, tmp_path):
    sleeper, taker = ours(NO_LOCKS), Claims(tmp_path, NO_LOCKS, beat_seconds=0.1, stale_seconds=0.3)
    claim = sleeper.attempt("unit")
    claim.require_held()
    (tmp_path / "unit.json").unlink()  # as if nothing had been heard of it
    assert isinstance(taker.attempt("unit"), Claim)
    with pytest.raises(LostClaimError, match="was taken over by another run") as caught:
        claim.require_held()  # at once, not only with the next heartbeat
    assert caught.value.exit_code == ResourceError.exit_code
    assert not isinstance(caught.value, ResourceError), "a run that ends for want of something saves its state"
    claim.release()
    assert (tmp_path / "unit.json").exists(), "the record is the taker's now"
    taker.close()


def test_what_was_taken_over_is_the_takers_though_its_loser_ends_before_it_knows(ours, tmp_path):
    sleeper = Claims(tmp_path, NO_LOCKS, beat_seconds=60, stale_seconds=120)
    claim = sleeper.attempt("unit")
    (tmp_path / "unit.json").unlink()
    taken = ours(NO_LOCKS).attempt("unit")
    sleeper.close()
    assert not claim.lost
    taken.require_held()
    assert taken.holder.token in (tmp_path / "unit.json").read_text()


def test_a_child_that_inherits_the_lock_keeps_the_work_when_its_parent_is_killed(ours, tmp_path):
    code = (
        "import subprocess, sys, os, signal\n"
        "from pathlib import Path\n"
        "from nnbox.stages.claims import Claims\n"
        "claim = Claims(Path(sys.argv[1])).attempt('unit')\n"
        "silent = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}\n"
        "child = subprocess.Popen(['sleep', '120'], pass_fds=(claim.descriptor,), **silent)\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    child = int(done.stdout)
    claims = ours(DISK)
    try:
        assert isinstance(claims.attempt("unit"), Refusal)
    finally:
        os.kill(child, signal.SIGKILL)
    assert isinstance(claims.wait("unit", lambda refusal: None), Claim)


def test_a_released_claim_is_free_and_looking_takes_nothing(ours):
    first, second = ours(DISK), ours(DISK)
    with first.attempt("a/unit"):
        assert second.look("a/unit") is not None
        assert [holder.work for holder in second.held_by_others("a")] == ["a/unit"]
        assert first.held_by_others("a") == ()
    assert second.look("a/unit") is None
    assert isinstance(second.attempt("a/unit"), Claim)


def test_who_waits_says_once_for_whom(ours, other):
    process = other(DISK)
    told = []

    def tell(refusal):
        told.append(refusal.sentence())
        process.communicate("")

    assert isinstance(ours(DISK).wait("unit", tell), Claim)
    assert len(told) == 1


def test_locks_are_tried_out_and_file_systems_known_by_name(tmp_path):
    assert locking(tmp_path).exclusive
    mounts = tmp_path / "mountinfo"
    line = "1 0 0:1 / {place} rw - {kind} source rw\n"
    for kind, local in (("ext4", True), ("nfs4", False), ("lustre", False), ("fuse.sshfs", False)):
        mounts.write_text(line.format(place="/", kind="ext4") + line.format(place=tmp_path, kind=kind))
        assert locking(tmp_path, mounts).local is local
    assert not locking(tmp_path, tmp_path / "absent").local
