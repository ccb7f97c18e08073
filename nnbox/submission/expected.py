"""What a result archive must hold: the test cases, each on its image's grid, and those that may be absent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import UsageError
from nnbox.geometry import Grid
from nnbox.records.codec import Json, read_json
from nnbox.records.endings import split_ending

_SHIPPED = Path(__file__).with_name("unscored.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCase:
    """One test case of a result archive.

    Attributes:
        task: the folder it lies in, ``Task04_Hippocampus``.
        output_name: the file's name in it: the test image's own.
        grid: of the test image.
        label_values: the foreground label values of the task; 0 is always allowed.
    """

    task: str
    output_name: str
    grid: Grid
    label_values: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the case: the file's name without its ending."""
        return split_ending(self.output_name)[0]


def cases_that_may_be_absent(expected: Sequence[ExpectedCase], listing: Path | None) -> frozenset[tuple[str, str]]:
    """Return the (task, case) pairs that are not scored and therefore need not be in the archive.

    Without a listing these are the eleven test cases of the Decathlon that are not scored, shipped beside this module.
    A case of the list that *is* in the archive is checked like any other.

    Source: RULES §11

    Args:
        expected: the test cases.
        listing: the file of ``--exclude-from-submission``: JSON, a list of case names, or an object with one such list
            per task.

    Raises:
        RecordError: the listing cannot be read.
        UsageError: it is neither of the two forms, or names a case that no task at hand has.
    """
    known = {(case.task, case.name) for case in expected}
    if listing is None:
        return frozenset(known & _pairs(read_json(_SHIPPED), known, where=str(_SHIPPED)))
    pairs = _pairs(read_json(listing), known, where=str(listing))
    tasks = {task for task, _ in known}
    if unknown := sorted(name for task, name in pairs - known if task in tasks):
        raise UsageError(f"{listing}: no test case is named {unknown[0]!r}; names are file names without their ending")
    return frozenset(pairs & known)


def _pairs(document: Json, known: set[tuple[str, str]], *, where: str) -> set[tuple[str, str]]:
    if _is_names(document):
        found = {pair for pair in known if pair[1] in document}
        anywhere = next(iter(sorted(task for task, _ in known)), "")
        return found | {(anywhere, name) for name in document if name not in {case for _, case in found}}
    if isinstance(document, dict) and all(_is_names(names) for names in document.values()):
        return {(task, name) for task, names in document.items() for name in names}
    raise UsageError(f'{where}: expected a JSON list of case names, or {{"Task03_Liver": ["liver_141"]}}')


def _is_names(document: Json) -> bool:
    return isinstance(document, list) and all(isinstance(name, str) for name in document)
