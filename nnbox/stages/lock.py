"""Who may write to an output folder: one command alone, or runs of ``train`` side by side."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from nnbox.errors import ResourceError
from nnbox.stages.presence import presences


def held(path: Path) -> contextlib.AbstractContextManager[None]:
    """Have the lock file alone for the time of the block; the kernel lets go of it when the process ends, however.

    Raises:
        ResourceError: another run holds it, alone or together with others.
    """
    return _locked(path, fcntl.LOCK_EX)


def joined(path: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the lock file together with all who join; nobody has it alone meanwhile.

    Raises:
        ResourceError: another run has it alone.
    """
    return _locked(path, fcntl.LOCK_SH)


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            writing = [item for item in presences(path.parent) if item.ended is None]
            known = "; ".join(f"process {item.process} on {item.host}, since {item.began}" for item in writing)
            raise ResourceError(
                f"another run is writing to {path.parent} ({known or 'process unknown'}). What to do: wait for it, or "
                "use another --output."
            ) from None
        except OSError:
            pass  # a file system without locks: claims have heartbeats there
        yield
    finally:
        os.close(descriptor)
