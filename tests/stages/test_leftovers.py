"""What killed writers leave is removed by a run that is alone, and nothing else is."""

import fcntl
import os

from nnbox.stages.leftovers import LOCK, QUIET_SECONDS, remove_half_written, swept


def make(folder, *, age):
    """A file of every kind that is left half written, and files that are whole, all so old."""
    left = [folder / "a" / ".part-01ab-weights.safetensors", folder / ".write-test-7", folder / ".model-x" / "m.json"]
    left += [folder / ".part-02cd-model" / "plan.json", folder / "prepared" / ".probe-03ef" / "2d" / "random"]
    kept = [folder / "a" / "weights.safetensors", folder / ".lock", folder / "previous-runs" / "1" / ".part-01-x"]
    for path in (*left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    now = 1_000_000.0
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (now - age, now - age))
    return left, kept, now


def test_what_nobody_has_written_to_for_a_minute_is_removed(tmp_path):
    left, kept, now = make(tmp_path, age=QUIET_SECONDS)
    removed = remove_half_written(tmp_path, now=now)
    assert len(removed) == 5
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)
    assert not (tmp_path / ".part-02cd-model").exists()


def test_what_was_written_to_within_the_last_minute_stays(tmp_path):
    left, kept, now = make(tmp_path, age=QUIET_SECONDS - 1)
    assert remove_half_written(tmp_path, now=now) == ()
    assert all(path.exists() for path in (*left, *kept))


def test_a_run_sweeps_before_and_after_it(tmp_path):
    left, _, _ = make(tmp_path, age=QUIET_SECONDS)
    with swept(tmp_path):
        assert not any(path.exists() for path in left)
        left, _, _ = make(tmp_path, age=QUIET_SECONDS)
        assert all(path.exists() for path in left)
    assert not any(path.exists() for path in left)


def test_beside_another_run_nothing_is_removed(tmp_path):
    left, _, _ = make(tmp_path, age=QUIET_SECONDS)
    other = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_SH)
    with swept(tmp_path):
        assert all(path.exists() for path in left)
    os.close(other)
