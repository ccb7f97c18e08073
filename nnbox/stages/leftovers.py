"""What killed runs leave half written is removed by the next run, once nobody else can be writing it. Source: own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from nnbox.files import PART
from nnbox.stages.places import PROBE
from nnbox.stages.workspace import PROBED

QUIET_SECONDS = 60.0
"""What was written to within this time is left alone, whatever the lock says: some network file systems have none."""
UNPACKED = ".model-"
"""How the name of a folder begins in which a run unpacks a model."""
_HALF_WRITTEN = (PART, PROBE, PROBED, UNPACKED)
LOCK = ".writers"
_NOT_OURS = "previous-runs"


@contextlib.contextmanager
def swept(output: Path) -> Iterator[None]:
    """Hold the output as one of its writers for the block; before and after it remove what killed writers left there.

    Only a run that is alone in the output removes anything: half a file of another run may be about to become whole.
    """
    descriptor = os.open(output / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _sweep_alone(output, descriptor)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
        _sweep_alone(output, descriptor)
    finally:
        os.close(descriptor)


def _sweep_alone(output: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):  # another run writes here, or the file system has no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_half_written(output, now=_now_there(descriptor))


def remove_half_written(output: Path, *, now: float) -> tuple[Path, ...]:
    """Remove temporary files and folders that nobody has written to for a minute; return them.

    Args:
        output: a run's output folder.
        now: the time by the file system's clock, seconds: that of this machine may be another.
    """
    removed = []
    for folder, folders, files in os.walk(output):
        if Path(folder) == output:
            folders[:] = [name for name in folders if name != _NOT_OURS]
        for name in [name for name in (*folders, *files) if name.startswith(_HALF_WRITTEN)]:
            path = Path(folder) / name
            if now - _last_written(path) >= QUIET_SECONDS:
                _remove(path)
                removed.append(path)
        folders[:] = [name for name in folders if not name.startswith(_HALF_WRITTEN)]
    return tuple(removed)


def _now_there(descriptor: int) -> float:
    os.utime(descriptor)
    return os.fstat(descriptor).st_mtime


def _last_written(path: Path) -> float:
    inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    times = [0.0]
    for found in (path, *inside):
        with contextlib.suppress(OSError):
            times.append(found.stat(follow_symlinks=False).st_mtime)
    return max(times)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
