"""What a check of `soak.py` is, and how it starts the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from course import Course, watch

NNBOX = Path(sys.executable).with_name("nnbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a check.

    Attributes:
        courses: of every command that it started.
        figures: by name.
        holds: whether the limit is kept.
    """

    courses: tuple[Course, ...]
    figures: dict[str, float]
    holds: bool

    @property
    def failed(self) -> Course | None:
        """The first command that did not end with 0."""
        return next((course for course in self.courses if course.exit_code), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to be seen.

    Attributes:
        what: in words.
        limit: in words.
        run: does it in an empty folder.
    """

    what: str
    limit: str
    run: Callable[[Path], Seen]


def predicted(work: Path, output: str, *words: str, every_seconds: float) -> Course:
    """Predict the images of a folder with its model, both put there before; mirrored passes are left out."""
    command = [NNBOX, "predict", "--input", work / "images", "--output", work / output, "--model", work / "model"]
    command += ["--device", "cpu", "--no-mirroring", *words]
    return watch(command, work / f"{output}.txt", os.environ, every_seconds=every_seconds)
