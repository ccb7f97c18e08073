"""The tables a user may give beside the images: patients and ready folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnbox.errors import Problem, RecordError, Severity
from nnbox.records.codec import read_json

PATIENTS_FILE = "patients.json"


def read_patients(
    root: Path, given: Path | None, cases: Sequence[str], others: Sequence[str]
) -> tuple[Mapping[str, str], tuple[Problem, ...]]:
    """Read ``{case: patient}`` from the given file, else from ``patients.json`` in the root where there is one.

    Args:
        root: the data set's folder.
        given: the file after ``--patients``.
        cases: names of the training cases.
        others: names that may occur as well (unlabelled and excluded cases).

    Returns:
        The patient of each training case that has one, and the findings.
    """
    path = given if given is not None else root / PATIENTS_FILE
    if given is None and not path.is_file():
        return {}, ()
    document, problem = _read(path, "--patients")
    if problem is not None:
        return {}, (problem,)
    if not isinstance(document, dict) or not all(
        isinstance(patient, (str, int)) and not isinstance(patient, bool) for patient in document.values()
    ):
        return {}, (_error("it is no table of patients", '{"case": "patient", …}', "correct the file", path),)
    problems = []
    if unknown := sorted(set(document) - set(cases) - set(others)):
        what = f"it names {_some(unknown)}, which the data set does not have"
        problems.append(_problem(Severity.WARNING, what, "names of cases", "correct the file if it is a slip", path))
    missing = sorted(set(cases) - set(document))
    if missing and document:
        what = f"it has no patient for {_some(missing)}; each counts as a patient of its own"
        problems.append(_problem(Severity.WARNING, what, "a patient for every case", "add them to the file", path))
    return {case: str(document[case]) for case in cases if case in document}, tuple(problems)


def read_splits(
    path: Path, cases: Sequence[str], excluded: Sequence[str], patients: Mapping[str, str]
) -> tuple[tuple[tuple[str, ...], ...] | None, tuple[Problem, ...]]:
    """Read ready folds: a list of lists of validation cases, or nnU-Net's ``splits_final.json``.

    Args:
        path: the file after ``--splits``.
        cases: names of the training cases.
        excluded: cases left out, which are dropped from the folds.
        patients: patients of the training cases.

    Returns:
        The validation cases of each fold, sorted, or None if there is an error; and the findings.
    """
    document, problem = _read(path, "--splits")
    if problem is not None:
        return None, (problem,)
    parsed = [_fold(item) for item in document] if isinstance(document, list) else []
    stated = [fold for fold in parsed if fold is not None]
    if not parsed or len(stated) != len(parsed):
        expected = '[["case_1", …], …] or [{"train": […], "val": […]}, …]'
        return None, (_error("it is no list of folds", expected, "correct the file", path),)
    folds = [tuple(sorted(case for case in validation if case not in excluded)) for _, validation in stated]
    problems = [_error(what, expected, "correct the file", path) for what, expected in _defects(folds, cases, patients)]
    for index, (training, validation) in enumerate(stated):
        if training is None:
            continue
        if both := sorted(set(training) & set(validation)):
            what = f"fold {index} trains on its own validation cases {_some(both)}"
            problems.append(_error(what, "separate cases", "correct the file", path))
        elif left_out := sorted(set(cases) - set(training) - set(validation)):
            what = f"fold {index} does not train on {_some(left_out)}"
            remedy = "nothing: every case outside a fold's validation set is trained on; --exclude leaves a case out"
            problems.append(_problem(Severity.WARNING, what, "all other cases", remedy, path))
    failed = any(problem.severity is Severity.ERROR for problem in problems)
    return None if failed else tuple(folds), tuple(problems)


def _fold(item: object) -> tuple[list[str] | None, list[str]] | None:
    """Return (training cases or None, validation cases) of one stated fold; None if it is none."""
    if isinstance(item, list) and all(isinstance(case, str) for case in item):
        return None, item
    if isinstance(item, dict) and isinstance(item.get("val"), list) and isinstance(item.get("train", []), list):
        names = [*item["val"], *item.get("train", [])]
        return (item.get("train"), item["val"]) if all(isinstance(case, str) for case in names) else None
    return None


def _defects(
    folds: Sequence[tuple[str, ...]], cases: Sequence[str], patients: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return (defect, expectation) for everything that keeps the folds from being a partition of the cases."""
    found = []
    everything = [case for fold in folds for case in fold]
    if len(folds) < 2:
        found.append((f"it has {len(folds)} fold(s)", "at least 2 folds"))
    if empty := [str(index) for index, fold in enumerate(folds) if not fold]:
        found.append((f"fold {', '.join(empty)} has no validation case", "at least one in every fold"))
    if unknown := sorted(set(everything) - set(cases)):
        found.append((f"it names {_some(unknown)}, which are no labelled cases", "names of labelled cases"))
    if doubled := sorted({case for case in everything if everything.count(case) > 1}):
        found.append((f"{_some(doubled)} lie in several validation sets", "every case in one validation set"))
    if uncovered := sorted(set(cases) - set(everything)):
        found.append((f"{_some(uncovered)} lie in no validation set", "every labelled case in one"))
    places: dict[str, set[int]] = {}
    for index, fold in enumerate(folds):
        for case in fold:
            if case in patients:
                places.setdefault(patients[case], set()).add(index)
    if torn := sorted(patient for patient, where in places.items() if len(where) > 1):
        found.append((f"the cases of patient {_some(torn)} lie in several folds", "a patient's cases in one fold"))
    return found


def _read(path: Path, option: str) -> tuple[Any, Problem | None]:
    remedy = f"correct the file, or name another with {option}"
    try:
        document = read_json(path)
    except (RecordError, OSError) as failure:
        return None, _error(f"it cannot be read ({failure})", "a JSON file", remedy, path)
    return document, None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _error(what: str, expected: str, remedy: str, path: Path) -> Problem:
    return _problem(Severity.ERROR, what, expected, remedy, path)


def _problem(severity: Severity, what: str, expected: str, remedy: str, path: Path) -> Problem:
    return Problem(severity=severity, what=what, expected=expected, remedy=remedy, file=path.name)
