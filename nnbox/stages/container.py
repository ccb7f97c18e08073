"""What a container can know of the command that started it, to print a line that works. Source: own."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from nnbox.layouts.names import OWN_FOLDER

_MOUNTS = Path("/proc/self/mountinfo")
_VOLUME = re.compile(r"/volumes/([^/]+)/_data$")
_OCTAL = re.compile(r"\\([0-7]{3})")
# On these a mount's root is a path of the host; on others (a desktop's file sharing) it is not.
_HOST_PATHS = frozenset({"ext4", "ext3", "ext2", "xfs", "zfs", "overlay", "tmpfs", "f2fs", "jfs"})
_CARDS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def in_container() -> bool:
    """Whether this is the image (it says so of itself)."""
    return "NNBOX_IMAGE" in os.environ


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mounted folder.

    Attributes:
        place: where it is mounted.
        source: volume name or host folder, as ``-v`` takes it; None where that cannot be known.
        read_only: mounted so that nothing can be written.
    """

    place: str
    source: str | None
    read_only: bool


def mounts(table: Path = _MOUNTS) -> dict[str, Mount]:
    """Return every mount of this process by its place; see proc(5), mountinfo."""
    found = {}
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()[0]
        root, place, options = _plain(fields[3]), _plain(fields[4]), fields[5].split(",")
        if (volume := _VOLUME.search(root)) is not None:
            source: str | None = volume.group(1)
        else:
            source = root if kind in _HOST_PATHS else None
        found[place] = Mount(place=place, source=source, read_only="ro" in options)
    return found


def command_line(
    *, user: str | None = None, results: bool = False, words: list[str] | None = None, table: Path = _MOUNTS
) -> str:
    """Return the ``docker run`` line that repeats this command with what was missing.

    Args:
        user: ``uid:gid`` to run as.
        results: mount a volume for the results.
        words: the verb and its options; None takes those of this process.
        table: the mounts.
    """
    known = mounts(table)
    parts = ["docker", "run"]
    if any(card.exists() for card in _CARDS):
        parts += ["--gpus", "all"]
    if user is not None:
        parts += ["--user", user]
    for place in ("/input", "/output"):
        if place in known:
            mount = known[place]
            ending = ":ro" if mount.read_only else ""
            parts += ["-v", f"{mount.source or 'FOLDER'}:{place}{ending}"]
    if results and "/output" not in known:
        parts += ["-v", f"{OWN_FOLDER}-results:/output"]
    verb = sys.argv[1:] if words is None else words
    return shlex.join([*parts, os.environ.get("NNBOX_IMAGE", "nnbox"), *verb])


def _plain(text: str) -> str:
    """Undo the octal escapes of blanks and backslashes."""
    return _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), text)
