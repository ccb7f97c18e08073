"""One run per output folder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from nnbox.errors import ResourceError


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file for the time of the block; the kernel lets go of it when the process ends, however it ends.

    Raises:
        ResourceError: another run holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 100).decode(errors="replace").strip() or "unknown"
            raise ResourceError(
                f"another run is writing to {path.parent} (process {holder}). What to do: wait for it, or use "
                "another --output."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
