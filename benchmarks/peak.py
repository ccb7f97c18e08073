"""The most memory that a command and all its descendants hold at a time, looked at from outside, in /proc.

The largest process counts with all that is resident, the others with what they share with nobody: a library that all
of them have mapped counts once, and it counts whole, whoever else on the machine has it mapped. Between two looks a
peak could be missed; so the kernel's own high-water mark of each process is looked at, too.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_KB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a command did.

    Attributes:
        exit_code: its own.
        peak_bytes: the most memory of the whole tree at a time.
        looks: how often the tree was looked at.
        seconds: from start to end.
        output: what it said, on either stream.
    """

    exit_code: int
    peak_bytes: int
    looks: int
    seconds: float
    output: str


def watched(command: Sequence[str], log: Path, environment: Mapping[str, str], *, every_seconds: float) -> Watched:
    """Run a command to its end and watch its memory.

    Args:
        command: program and arguments.
        log: file that takes what it says.
        environment: of the command.
        every_seconds: pause between two looks.
    """
    started, peak, looks = time.monotonic(), 0, 0
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            while process.poll() is None:
                peak = max(peak, tree_bytes(process.pid))
                looks += 1
                time.sleep(every_seconds)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    seconds = time.monotonic() - started
    return Watched(
        exit_code=process.returncode,
        peak_bytes=peak,
        looks=looks,
        seconds=seconds,
        output=log.read_text(errors="replace"),
    )


def tree_bytes(root: int) -> int:
    """Return what a process and its descendants hold now, or what the largest of them held at its own peak."""
    sizes, marks = [], []
    for process in _tree(root):
        found = _fields(process, "smaps_rollup")
        private = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
        sizes.append((found.get("Rss", 0), private))
        marks.append(_fields(process, "status").get("VmHWM", 0))
    whole, own = max(sizes, default=(0, 0))
    together = whole + sum(private for _, private in sizes) - own
    return max([together, *marks]) * _KB


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and (parent := _parent(folder)) is not None:
            children.setdefault(parent, []).append(int(folder.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting.extend(children.get(found[-1], ()))
    return found


def _parent(folder: Path) -> int | None:
    try:
        # The name of a program may hold blanks and brackets; the state and the parent follow the last bracket.
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _fields(process: int, file: str) -> dict[str, int]:
    """Return the fields that are stated in kB; none where the process has ended."""
    try:
        lines = (_PROC / str(process) / file).read_text().splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines]
    return {words[0].rstrip(":"): int(words[1]) for words in parts if len(words) == 3 and words[2] == "kB"}
