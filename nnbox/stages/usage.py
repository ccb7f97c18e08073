"""What a run uses of the machine, read from Linux's own counts; None where the system does not tell."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts of this process and of its finished children.

    Attributes:
        cpu_seconds: processor time so far, worker processes that have ended included.
        peak_memory_bytes: the most memory this process has held so far.
        peak_worker_bytes: the most memory one worker process that has ended held.
    """

    cpu_seconds: float
    peak_memory_bytes: int
    peak_worker_bytes: int


def usage_so_far() -> Usage:
    """Return the counts at this moment."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return Usage(
        cpu_seconds=own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
        peak_memory_bytes=own.ru_maxrss * _KIB,
        peak_worker_bytes=children.ru_maxrss * _KIB,
    )


def memory_in_use_bytes() -> int | None:
    """Return the memory that this process and all its descendants hold now; pages they share count once for each."""
    parents: dict[int, int] = {}
    try:
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                parents[int(entry.name)] = _parent(entry)
        family = {os.getpid()}
        while found := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= found
        return sum(_resident_bytes(_PROC / str(pid)) for pid in family)
    except OSError:
        return None


def _parent(entry: Path) -> int:
    try:
        # The second field is the program's name in brackets, which may hold anything.
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _resident_bytes(entry: Path) -> int:
    try:
        return int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
