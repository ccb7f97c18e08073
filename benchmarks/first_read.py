"""When a command first reads a file of a folder, seen from outside: the kernel's own notice (inotify)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_IN_ACCESS, _IN_ISDIR = 0x1, 0x40000000
_EVENT = struct.Struct("iIII")
_LIMIT_SECONDS = 300


def seconds_to_first_read(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> float:
    """Start a command, wait until it or a process of its own reads a file of the folder, and end it.

    Raises:
        RuntimeError: it ended, or five minutes passed, without a read.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_CLOEXEC)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), _IN_ACCESS) < 0:
        raise OSError(ctypes.get_errno(), "the folder cannot be watched")
    nowhere = subprocess.DEVNULL
    began = time.perf_counter()
    running = subprocess.Popen(command, env=environment, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        while time.perf_counter() - began < _LIMIT_SECONDS:
            ready = select.select([watch], [], [], 0.5)[0]
            seconds = time.perf_counter() - began
            if ready and _is_file_read(os.read(watch, 1 << 16)):
                return seconds
            if not ready and running.poll() is not None:
                break
        raise RuntimeError(f"{command[0]} read nothing in {folder}; its exit code is {running.poll()}")
    finally:
        os.close(watch)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _is_file_read(events: bytes) -> bool:
    place = 0
    while place < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, place)
        if mask & _IN_ACCESS and not mask & _IN_ISDIR and length:
            return True
        place += _EVENT.size + length
    return False
