"""Memory and open files of a command with all its descendants over time, looked at from outside, in /proc."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

_PROC = Path("/proc")
_BEGIN, _END = 0.2, 0.95
"""The part of a run that is judged: what starts and what ends it is left out."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the tree.

    Attributes:
        seconds: since the command began.
        memory_bytes: of all processes, shared pages counted in parts (PSS).
        files: open file descriptors of all processes.
    """

    seconds: float
    memory_bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Course:
    """What was seen of a command.

    Attributes:
        exit_code: its own.
        seconds: from start to end.
        looks: in order.
    """

    exit_code: int
    seconds: float
    looks: tuple[Look, ...]

    @property
    def judged(self) -> tuple[Look, ...]:
        """The looks between a fifth and 95 % of the run."""
        return tuple(look for look in self.looks if _BEGIN <= look.seconds / self.seconds <= _END)

    @property
    def peak_bytes(self) -> int:
        """The most memory that was seen."""
        return max(look.memory_bytes for look in self.looks)

    @property
    def growth_bytes(self) -> float:
        """What memory grows by over the judged part, by the line of least squares."""
        judged = self.judged
        at = np.array([look.seconds for look in judged])
        slope = np.polyfit(at - at[0], [look.memory_bytes for look in judged], 1)[0]
        return float(slope * (at[-1] - at[0]))

    @property
    def median_bytes(self) -> float:
        """The usual memory of the judged part."""
        return median(look.memory_bytes for look in self.judged)

    @property
    def files(self) -> tuple[int, int]:
        """The most open files in the first and in the second half of the judged part."""
        judged = self.judged
        middle = len(judged) // 2
        return max(look.files for look in judged[:middle]), max(look.files for look in judged[middle:])


def watch(command: Sequence[str | Path], log: Path, environment: Mapping[str, str], *, every_seconds: float) -> Course:
    """Run a command to its end and look at it every so often; what it says goes into a file."""
    began, looks = time.monotonic(), []
    with log.open("wb") as stream:
        running = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            while running.poll() is None:
                processes = descendants(running.pid)
                memory, files = sum(map(_memory_bytes, processes)), sum(map(_open_files, processes))
                if memory:
                    looks.append(Look(time.monotonic() - began, memory, files))
                time.sleep(every_seconds)
        finally:
            if running.poll() is None:
                running.kill()
                running.wait()
    return Course(running.returncode, time.monotonic() - began, tuple(looks))


def descendants(root: int) -> list[int]:
    """Return a process and all that it and its children started and that are still there."""
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        for thread in _listed(_PROC / str(found[-1]) / "task"):
            try:
                waiting.extend(map(int, (_PROC / str(found[-1]) / "task" / thread / "children").read_text().split()))
            except OSError:
                continue
    return found


def _memory_bytes(process: int) -> int:
    try:
        lines = (_PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _open_files(process: int) -> int:
    return len(_listed(_PROC / str(process) / "fd"))


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
