"""Memory and open files of a command with all its descendants over time, looked at from outside, in /proc.

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
from statistics import median

_PROC = Path("/proc")
_KB = 1024
_BEGIN, _END = 0.2, 0.95
"""The part of a run that is judged: what starts and what ends it is left out."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the tree.

    Attributes:
        seconds: since the command began.
        memory_bytes: held at that moment.
        mark_bytes: the most that one of the processes has ever held, as the kernel remembers it.
        files: open file descriptors of all processes.
    """

    seconds: float
    memory_bytes: int
    mark_bytes: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What was seen of a command.

    Attributes:
        exit_code: its own.
        seconds: from start to end.
        looks: in order.
        output: what it said, on either stream.
    """

    exit_code: int
    seconds: float
    looks: tuple[Look, ...]
    output: str

    @property
    def judged(self) -> tuple[Look, ...]:
        """The looks between a fifth and 95 % of the run."""
        return tuple(look for look in self.looks if _BEGIN <= look.seconds / self.seconds <= _END)

    @property
    def peak_bytes(self) -> int:
        """The most memory of the whole tree at a time."""
        return max((max(look.memory_bytes, look.mark_bytes) for look in self.looks), default=0)

    @property
    def growth_bytes(self) -> float:
        """What memory grows by between the first and the last third of the judged part, by their medians."""
        return self._growth([look.memory_bytes for look in self.judged])

    @property
    def growth_files(self) -> float:
        """What the number of open files grows by between the same thirds."""
        return self._growth([look.files for look in self.judged])

    @property
    def median_bytes(self) -> float:
        """The usual memory of the judged part."""
        return median(look.memory_bytes for look in self.judged)

    @property
    def median_files(self) -> float:
        """The usual number of open files of the judged part."""
        return median(look.files for look in self.judged)

    def _growth(self, values: Sequence[float]) -> float:
        # Medians: a process that comes and goes, as the one that writes the report, is no growth.
        third = max(1, len(values) // 3)
        return float(median(values[-third:]) - median(values[:third]))


def watch(command: Sequence[str | Path], log: Path, environment: Mapping[str, str], *, every_seconds: float) -> Course:
    """Run a command to its end and look at it every so often.

    Args:
        command: program and arguments.
        log: file that takes what it says.
        environment: of the command.
        every_seconds: pause between two looks.
    """
    began, looks = time.monotonic(), []
    with log.open("wb") as stream:
        running = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            while running.poll() is None:
                look = _look(running.pid, time.monotonic() - began)
                looks += [look] if look.memory_bytes else []
                time.sleep(every_seconds)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    seconds, output = time.monotonic() - began, log.read_text(errors="replace")
    return Course(exit_code=running.returncode, seconds=seconds, looks=tuple(looks), output=output)


def _look(root: int, seconds: float) -> Look:
    sizes, marks, files = [(0, 0)], [0], 0
    for process in _tree(root):
        found = _fields(process, "smaps_rollup")
        sizes.append((found.get("Rss", 0), found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)))
        marks.append(_fields(process, "status").get("VmHWM", 0))
        files += _open_files(process)
    whole, own = max(sizes)
    together = whole + sum(private for _, private in sizes) - own
    return Look(seconds, together * _KB, max(marks) * _KB, files)


def _tree(root: int) -> list[int]:
    """Return a process and all that it and its children started and that are still there."""
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


def _open_files(process: int) -> int:
    try:
        return len(list((_PROC / str(process) / "fd").iterdir()))
    except OSError:  # it has ended
        return 0
