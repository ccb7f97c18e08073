"""What this process may use: the container's limits (control groups, versions 1 and 2) before the host's size."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from nnbox.errors import ResourceError

SMALL_BYTES = 1 << 26
"""Less than the program itself takes. Whether so little fits need not be asked: the answer lies in several files."""
_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_PROC = Path("/proc")
# Version 1 writes "no limit" as the largest multiple of a page.
_UNLIMITED_BYTES = 1 << 60
_CARD_IS_FULL = ("CUDA out of memory", "CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
_MMAP_THRESHOLD = -3  # as glibc's malloc.h numbers it


def available_cpus(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return how many CPUs this process may keep busy: its affinity, and every group's quota, rounded, at least 1."""
    count = len(os.sched_getaffinity(0))
    for folder in _folders("cpu", groups, own):
        if (quota := _quota(folder)) is not None:
            count = min(count, max(1, round(quota)))
    return count


def available_memory_bytes(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Return the memory this process may use: the machine's, or the smallest limit of its groups or of its own.

    Own limits (``ulimit``) are how some platforms hold a job that runs as part of a larger container.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        allowed, _ = resource.getrlimit(kind)
        if allowed != resource.RLIM_INFINITY:
            found = min(found, allowed)
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit < _UNLIMITED_BYTES:
                found = min(found, limit)
    return found


def is_memory_limited(groups: Path = _GROUPS, own: Path = _OWN) -> bool:
    """Whether a limit allows less memory than the machine has."""
    return available_memory_bytes(groups, own) < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_in_use_bytes(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Return what this process's innermost group uses now, file cache left out; None where no group tells."""
    for folder in _folders("memory", groups, own):
        for name, cached in (
            ("memory.current", "inactive_file"),
            ("memory.usage_in_bytes", "total_inactive_file"),
        ):
            used = _number(folder / name)
            if used is not None:
                return max(0, used - _counters(folder / "memory.stat").get(cached, 0))
    return None


def memory_ran_out(error: BaseException) -> ResourceError | None:
    """Return what to tell where an error means that memory did not suffice; None where it means something else.

    torch tells of it on the CPU by a ``RuntimeError``, which only its words set apart; on a card by several.
    """
    asked = next(iter(str(error).splitlines()), "")
    if any(words in str(error) for words in _CARD_IS_FULL):
        return ResourceError(
            f"the card's memory ran out ({asked}). What to do: end what else uses the card, use one with more memory, "
            "or --device cpu; then run the same command again, what is finished is kept."
        )
    if not isinstance(error, MemoryError) and "DefaultCPUAllocator: can't allocate memory" not in str(error):
        return None
    used = memory_in_use_bytes()
    seen = "" if used is None else f"; {used / 1e6:.0f} MB are in use"
    return ResourceError(
        f"memory ran out{f' ({asked})' if asked else ''}{seen}. What to do: give more memory, or use fewer --workers; "
        "then run the same command again, what is finished is kept."
    )


def held_bytes(proc: Path = _PROC) -> int:
    """Return what this process and all it started hold now: its own resident pages, and of the others' what is theirs.

    What the others share with nobody is taken, so that libraries count once.
    """
    others = _descendants(os.getpid(), proc)
    private = (_sizes(proc / str(process) / "smaps_rollup") for process in others)
    own = _sizes(proc / str(os.getpid()) / "status").get("VmRSS", 0)
    return own + sum(found.get("Private_Clean", 0) + found.get("Private_Dirty", 0) for found in private)


def give_back_large_arrays() -> None:
    """Let freed arrays of a megabyte or more go back to the system at once, where the C library is glibc.

    Left to itself it raises that size with every large array that is freed, keeps later ones, and holds gaps between
    them: the same small prediction peaked at 518 to 612 MB, and at 465 MB with this. It costs time, as the
    system clears every page anew: 10 % of the processor time of a small prediction. Source: own (measured).
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 1_000_000)


def unused_memory_bytes(proc: Path = _PROC) -> int | None:
    """Return what the machine could give without swapping, its file cache included; None where it does not tell."""
    return _sizes(proc / "meminfo").get("MemAvailable")


def available_processes(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """Return how many processes and threads the groups allow; None where they set no limit."""
    limits = [_number(folder / "pids.max") for folder in _folders("pids", groups, own)]
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders that may limit this process, innermost first.

    In a container its own group is usually mounted as the root; where the host's tree is visible, the path of the
    process's group is followed upwards. A limit anywhere on the way holds.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        base = groups if not names else groups / controller
        folder = base / path.lstrip("/")
        while folder != base and base in folder.parents:
            yield folder
            folder = folder.parent
    yield groups
    yield groups / controller


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
            return None if limit == "max" else int(limit) / int(period)
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # absent, or the word "max"
        return None


def _descendants(process: int, proc: Path) -> Iterator[int]:
    try:
        words = [(task / "children").read_text() for task in (proc / str(process) / "task").iterdir()]
    except OSError:  # it has ended, or the system does not tell
        return
    for child in (int(name) for word in words for name in word.split()):
        yield child
        yield from _descendants(child, proc)


def _sizes(path: Path) -> dict[str, int]:
    """Return the fields of a file of /proc that are stated in kB, in bytes; none where it cannot be read."""
    try:
        parts = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in parts if len(words) == 3 and words[2] == "kB"}


def _counters(path: Path) -> dict[str, int]:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {name: int(value) for name, value in pairs}
    except (OSError, ValueError):
        return {}
