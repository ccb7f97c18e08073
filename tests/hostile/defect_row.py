"""One row of the table of bad input: a defect, how it gets in, and what the program says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

INSPECT = "inspect --input data --workers 1"
TRAIN = "train --input data --output out --until plan --workers 1 --device cpu"
PREDICT = "predict --input data --output out --model model --workers 1 --device cpu --no-mirroring"
EVALUATE = "evaluate --predictions predictions --references references"
CHECK = "check-submission result.zip --input data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row.

    Attributes:
        defect: what is wrong, in words; unique together with ``layout``.
        layout: the layout and the file ending, or what else the command reads.
        command: what is typed in the row's folder, after ``nnbox``.
        code: the exit code.
        words: what the program must print: the case or file, the value, the remedy.
        make: writes the input into the row's folder.
        model: the row wants a model bundle at ``model``.
    """

    defect: str
    layout: str
    command: str
    code: int
    words: tuple[str, ...]
    make: Callable[[Path], None]
    model: bool = False

    @property
    def verb(self) -> str:
        """The command as the table shows it."""
        words = self.command.split()
        shown = [words[0]]
        for option in ("--until", "--replace-nonfinite", "--exclude"):
            if option in words:
                value = words[words.index(option) + 1 :][:1]
                shown += [option, *(word for word in value if not word.startswith("--"))]
        return " ".join(shown)
