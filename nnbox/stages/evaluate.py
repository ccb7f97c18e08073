"""Label maps in a folder scored against references of the same names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnbox.errors import DataError, Problem, Severity, UsageError
from nnbox.evaluation.scores import score_case
from nnbox.imaging.io import read_header, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.records.dataset import Label
from nnbox.records.endings import split_ending
from nnbox.records.results import CaseScores
from nnbox.stages.pool import run_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores of every case.

    Attributes:
        label_values: the foreground values found in the references, ascending; scores are in this order.
        tolerances_mm: surface-Dice tolerance of each label.
        cases: scores by case.
    """

    label_values: tuple[int, ...]
    tolerances_mm: tuple[float, ...]
    cases: tuple[CaseScores, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    name: str
    prediction: Path
    reference: Path
    labels: tuple[Label, ...]
    tolerances_mm: tuple[float, ...]


def label_maps(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by case name (the file name without its ending).

    Raises:
        DataError: the folder is missing, or two files belong to one case.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; a folder of label maps is expected")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name, ending = split_ending(path.name)
        if not ending or path.name.startswith("."):
            continue
        if name in found:
            raise DataError(f"{folder}: {path.name} and {found[name].name} are two label maps of case {name}")
        found[name] = path
    return found


def evaluate_folders(
    predictions: Path, references: Path, tolerances: tuple[str, ...] | None, *, workers: int
) -> Evaluation:
    """Score every reference's prediction. Case names must match; grids must have the same size.

    Raises:
        DataError: a prediction is missing, does not fit its reference, or holds labels no reference has.
        UsageError: the tolerances are not one number, or one per label.
    """
    predicted, wanted = label_maps(predictions), label_maps(references)
    problems = [_missing(name, predictions) for name in sorted(set(wanted) - set(predicted))]
    if not wanted:
        raise DataError(f"{references} holds no label maps; image files such as case.nii.gz are expected")
    if problems:
        raise DataError(f"{len(problems)} of {len(wanted)} predictions are missing:", tuple(problems))
    values = sorted({value for path in wanted.values() for value in _values(path)})
    spacing_mm = max(max(read_header(path).grid.spacing_mm) for path in wanted.values())
    numbers = _tolerances(tolerances, len(values), spacing_mm)
    labels = tuple(Label(value=value, name=str(value)) for value in values)
    pairs = [_Pair(name, predicted[name], wanted[name], labels, numbers) for name in sorted(wanted)]
    return Evaluation(
        label_values=tuple(values), tolerances_mm=numbers, cases=tuple(run_all(_score, pairs, workers=workers))
    )


def _values(path: Path) -> set[int]:
    found, _ = read_labels(path)
    return {int(value) for value in np.unique(found) if value != 0}


def _score(pair: _Pair) -> CaseScores:
    reference, grid = read_labels(pair.reference)
    prediction, _ = read_labels(pair.prediction)
    if reference.shape != prediction.shape:
        raise DataError(
            f"case {pair.name}: {pair.prediction.name} has size {prediction.shape} (z, y, x), its reference "
            f"{reference.shape}; both must lie on one grid"
        )
    maps = (to_consecutive(reference, pair.labels), to_consecutive(prediction, pair.labels))
    by_tolerance = {
        tolerance: score_case(pair.name, *maps, grid.spacing_mm, len(pair.labels), tolerance)
        for tolerance in set(pair.tolerances_mm)
    }
    first = next(iter(by_tolerance.values()))
    labels = tuple(by_tolerance[tolerance].labels[index] for index, tolerance in enumerate(pair.tolerances_mm))
    return replace(first, labels=labels)


def _tolerances(given: tuple[str, ...] | None, labels: int, largest_spacing_mm: float) -> tuple[float, ...]:
    if given is None:
        return (largest_spacing_mm,) * labels
    try:
        numbers = tuple(float(word) for word in given)
    except ValueError:
        raise UsageError(
            f"--tolerance-mm {','.join(given)}: numbers of mm are expected, e.g. --tolerance-mm 1.5"
        ) from None
    if len(numbers) == 1:
        numbers *= labels
    if len(numbers) != labels or min(numbers) <= 0:
        raise UsageError(
            f"--tolerance-mm {','.join(given)}: one positive number, or one per label ({labels}), is expected"
        )
    return numbers


def _missing(name: str, folder: Path) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        what="there is no prediction",
        expected=f"a label map called {name} with an image ending in {folder}",
        remedy="predict it, or take its reference out of --references",
        case=name,
    )
