"""What measures on a card is cut off at its deadline, with all that it started, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import gpu_run
import gpu_watch
import pytest
from gpu_rows import rows
from gpu_watch import CutOffError, Watched
from gpu_worker import Settings


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from answering import serve

    process = Watched(serve)
    yield process
    process.close()


def test_questions_are_answered_one_after_the_other(watched):
    assert [watched.ask(word, seconds=60) for word in ("one", "two")] == ["one", "two"]


def test_what_hangs_is_cut_off_with_all_that_it_started(watched):
    started = watched.ask("pid", seconds=60)
    assert is_alive(started)
    with pytest.raises(CutOffError, match="cut off after 0 s"):
        watched.ask("hang", seconds=0.2)
    wait_for_end(started)


def test_a_process_that_ends_is_told_with_its_exit_code(watched):
    with pytest.raises(CutOffError, match="ended with exit code 3"):
        watched.ask("end", seconds=60)


def test_a_process_that_a_kill_does_not_end_is_not_awaited_for_ever(watched, monkeypatch):
    assert watched.ask("one", seconds=60) == "one"
    with monkeypatch.context() as changed:  # stands in for a driver that does not answer
        changed.setattr(gpu_watch, "_END_SECONDS", 0.1)
        changed.setattr(os, "killpg", lambda *_: None)
        changed.setattr(watched._process, "kill", lambda: None)
        watched.close()
    assert watched._process.is_alive()


# The other process ends with this one, which Python would have wait for it.
_STUCK = """
import multiprocessing, os, gpu_watch
reader, writer = os.pipe()

def wait():
    os.close(writer)
    os.read(reader, 1)

multiprocessing.get_context("fork").Process(target=wait).start()
print("the table")
gpu_watch.end(3)
"""


def test_the_end_waits_for_no_process_that_is_stuck(benchmarks):
    command = [sys.executable, "-c", _STUCK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=benchmarks, timeout=60)
    assert (done.returncode, done.stdout) == (3, "the table\n"), done.stderr


def test_a_row_that_is_cut_off_is_tried_once_more_without_a_compilation(monkeypatch, tmp_path):
    told = []

    def begin(work):
        told.append(work.args[0].may_compile)
        return Watched(work)

    monkeypatch.setattr(gpu_run, "Watched", begin)
    monkeypatch.setattr(gpu_run, "LONGEST_SHARE", 0.0)
    settings = Settings(device="cpu", folder=tmp_path, quick=True, ends_at=time.monotonic() + 600, cores=1)
    (entry,) = gpu_run.run(rows()[:1], settings, None)
    assert entry["not_measured"] == "cut off after 0 s; cut off after 0 s"
    assert entry["ours_median"] is None
    assert told == [True, False]


def test_a_row_about_a_compilation_that_is_cut_off_says_so_once(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_run, "LONGEST_SHARE", 0.0)
    settings = Settings(device="cpu", folder=tmp_path, quick=True, ends_at=time.monotonic() + 600, cores=1)
    (entry,) = gpu_run.run([row for row in rows() if row.name == "gpu/compiled-hippocampus"], settings, None)
    assert entry["not_measured"] == "cut off after 0 s"


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(process):
    ends_at = time.monotonic() + 30
    while is_alive(process):
        assert time.monotonic() < ends_at
        time.sleep(0.05)
