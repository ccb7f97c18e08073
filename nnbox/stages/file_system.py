"""What a folder's file system makes of locks, and which machine this is: whether a lock alone can be believed."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mountinfo")
# Disks that one kernel alone can have mounted for writing: what it says of a lock is the whole truth.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """What kernel locks are worth in a folder.

    Attributes:
        exclusive: a second lock on the same file is refused, at least on this machine.
        local: no other machine can have the file system mounted.
    """

    exclusive: bool
    local: bool


def locking(folder: Path, mounts: Path = _MOUNTS) -> Locking:
    """Try out in an existing folder what locks are worth there.

    Raises:
        OSError: the folder cannot be written.
    """
    return Locking(exclusive=_is_exclusive(folder), local=_kind(folder, mounts) in _LOCAL)


def machine() -> str:
    """Return what all processes on one running kernel share, and no other: containers have a host name each.

    Where the system does not tell, the host name stands for it.
    """
    try:
        return _BOOT.read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def _is_exclusive(folder: Path) -> bool:
    probe = folder / f".lock-test-{secrets.token_hex(4)}"
    first = os.open(probe, os.O_RDWR | os.O_CREAT, 0o644)
    second = os.open(probe, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    except OSError:  # no locks at all: ENOLCK, ENOSYS, EOPNOTSUPP
        return False
    finally:
        os.close(first)
        os.close(second)
        probe.unlink(missing_ok=True)


def _kind(folder: Path, mounts: Path) -> str:
    """Return the type of the file system a folder lies on, e.g. ``ext4``; empty where the system does not tell."""
    place = folder.resolve()
    longest, found = -1, ""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mounted = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # The later of two mounts at one place covers the earlier.
        if place.is_relative_to(mounted) and len(mounted.parts) >= longest:
            longest, found = len(mounted.parts), after.split()[0]
    return found
