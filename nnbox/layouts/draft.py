"""What names and JSON alone say about a data set, before any image is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import Problem, Severity
from nnbox.records.dataset import Case, Label

_LONGEST_TASK_BYTES = 120
_TASK_FOLDER = re.compile(r"(Task|Dataset)\d+_.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutDraft:
    """A data set as its file names and its ``dataset.json`` describe it.

    Attributes:
        task: name of the task.
        layout: ``decathlon``, ``nnunet_v2``, ``nnunet_v1``, ``bare``, ``flat`` or ``unknown``.
        dimension: 2 or 3 where the file endings tell, else None.
        channels: channel names in file order, or None where nothing names them.
        labels: foreground labels, ascending value, or None where nothing names them.
        cases: cases with an image and a label, sorted by name; names are unique.
        test_cases: images without a label, sorted by name; names are unique.
        problems: findings about the data set as a whole and about its unlabelled images.
        training_problems: findings about labelled cases, which do not matter for prediction.
    """

    task: str
    layout: str
    dimension: int | None = None
    channels: tuple[str, ...] | None = None
    labels: tuple[Label, ...] | None = None
    cases: tuple[Case, ...] = ()
    test_cases: tuple[Case, ...] = ()
    problems: tuple[Problem, ...] = ()
    training_problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTable:
    """Some cases of a draft and what was found wrong with them."""

    cases: tuple[Case, ...] = ()
    problems: tuple[Problem, ...] = ()


def error(what: str, expected: str, remedy: str, *, case: str | None = None, file: str | None = None) -> Problem:
    """Return a finding that stops the run."""
    return Problem(severity=Severity.ERROR, what=what, expected=expected, remedy=remedy, case=case, file=file)


def warning(what: str, expected: str, remedy: str, *, case: str | None = None, file: str | None = None) -> Problem:
    """Return a finding that is shown and recorded."""
    return Problem(severity=Severity.WARNING, what=what, expected=expected, remedy=remedy, case=case, file=file)


def task_name(root: Path, stated: object = None) -> str:
    """Return the folder's name if it looks like ``Task04_…`` or ``Dataset004_…``, else the stated name if any.

    The name becomes part of file names: characters that have a meaning there are replaced, and it is cut to a length
    that they can have.
    """
    folder = root.resolve().name
    chosen = folder
    if not _TASK_FOLDER.fullmatch(folder) and isinstance(stated, str) and stated.strip():
        chosen = stated.strip()
    name = re.sub(r"[^\w.+-]+", "_", chosen).encode("utf-8", "replace")[:_LONGEST_TASK_BYTES].decode(errors="ignore")
    return name.strip("._") or "task"


def looks_like_task(folder: Path) -> bool:
    """Return whether a folder is named ``Task<number>_…`` or ``Dataset<number>_…``."""
    return _TASK_FOLDER.fullmatch(folder.name) is not None
