"""Label maps in a folder scored against references of the same names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnbox.errors import DataError, Problem, Severity, UsageError
from nnbox.evaluation.scores import score_case
from nnbox.geometry import Grid
from nnbox.imaging.header import ImageReadError
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.io import read_header, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.intake.grids import GRID_TOLERANCE_VOX, corner_displacement_vox
from nnbox.records.dataset import Label
from nnbox.records.endings import split_ending
from nnbox.records.results import CaseScores
from nnbox.stages.pool import run_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Scores of every case.

    Attributes:
        label_values: the foreground values found in references or predictions, ascending; scores are in this order.
        only_predicted: those of them that no reference holds: every voxel of theirs is wrong.
        tolerances_mm: surface-Dice tolerance of each label.
        displaced_vox: cases whose prediction's header moves the corners of the reference, and how far; they are scored
            voxel by voxel all the same.
        cases: scores by case.
    """

    label_values: tuple[int, ...]
    only_predicted: tuple[int, ...]
    tolerances_mm: tuple[float, ...]
    displaced_vox: Mapping[str, float]
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
        DataError: predictions are missing, damaged or of another size than their references; the message lists all.
        UsageError: the tolerances are not one number, or one per label.
    """
    predicted, wanted = label_maps(predictions), label_maps(references)
    if not wanted:
        raise DataError(f"{references} holds no label maps; image files such as case.nii.gz are expected")
    problems = [_missing(name, predictions) for name in sorted(set(wanted) - set(predicted))]
    names = sorted(set(wanted) & set(predicted))
    read = [(_look(name, wanted[name]), _look(name, predicted[name])) for name in names]
    for reference, prediction in read:
        defects = [*reference.problems, *prediction.problems]
        problems += defects
        if not defects and reference.shape_vox != prediction.shape_vox:
            problems.append(_other_size(reference, prediction))
    if problems:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise DataError(
            f"the {len(wanted)} cases of {references} cannot be scored as they are; {count}:", tuple(problems)
        )
    known = {value for reference, _ in read for value in reference.values}
    values = tuple(sorted(known.union(*(prediction.values for _, prediction in read))))
    spacing_mm = max(max(read_header(path).grid.spacing_mm) for path in wanted.values())
    numbers = _tolerances(tolerances, values, spacing_mm)
    labels = tuple(Label(value=value, name=str(value)) for value in values)
    pairs = [_Pair(name, predicted[name], wanted[name], labels, numbers) for name in names]
    return Evaluation(
        label_values=values,
        only_predicted=tuple(value for value in values if value not in known),
        tolerances_mm=numbers,
        displaced_vox=_displaced_vox(read),
        cases=tuple(run_all(_score, pairs, workers=workers, name=lambda pair: f"case {pair.name}")),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What one label map holds, or why it cannot be read."""

    case: str
    path: Path
    shape_vox: tuple[int, ...] = ()
    values: frozenset[int] = frozenset()
    grid: Grid | None = None
    problems: tuple[Problem, ...] = ()


def _look(name: str, path: Path) -> _Look:
    """Read a label map once; SimpleITK alone reads a truncated file as zeros."""
    damages = tuple(_error(name, path, item.what, item.expected) for item in file_findings(path))
    if damages:
        return _Look(name, path, problems=damages)
    try:
        labels, grid = read_labels(path)
    except ImageReadError as failure:
        return _Look(name, path, problems=(_error(name, path, failure.what, failure.expected),))
    values = frozenset(int(value) for value in np.unique(labels) if value != 0)
    if unusable := sorted(value for value in values if value < 0):
        what = f"it holds the label values {unusable[:5]}"
        return _Look(name, path, problems=(_error(name, path, what, "whole label values from 0 up"),))
    return _Look(name, path, labels.shape, values, grid)


def _displaced_vox(read: Sequence[tuple[_Look, _Look]]) -> dict[str, float]:
    """Return how far the predictions' headers move the corners of their references, where they do."""
    found = {}
    for reference, prediction in read:
        if reference.grid is not None and prediction.grid is not None:
            moved = corner_displacement_vox(reference.grid, prediction.grid)
            if moved > GRID_TOLERANCE_VOX:
                found[reference.case] = moved
    return found


def _other_size(reference: _Look, prediction: _Look) -> Problem:
    what = f"its size is {prediction.shape_vox} voxels (z, y, x)"
    return _error(prediction.case, prediction.path, what, f"{reference.shape_vox}, as {reference.path} has")


def _error(case: str, path: Path, what: str, expected: str) -> Problem:
    remedy = "replace the file, or take the case out of both folders"
    return Problem(severity=Severity.ERROR, what=what, expected=expected, remedy=remedy, case=case, file=str(path))


def _score(pair: _Pair) -> CaseScores:
    reference, grid = read_labels(pair.reference)
    prediction, _ = read_labels(pair.prediction)
    maps = (to_consecutive(reference, pair.labels), to_consecutive(prediction, pair.labels))
    by_tolerance = {
        tolerance: score_case(pair.name, *maps, grid.spacing_mm, len(pair.labels), tolerance)
        for tolerance in set(pair.tolerances_mm)
    }
    first = next(iter(by_tolerance.values()))
    labels = tuple(by_tolerance[tolerance].labels[index] for index, tolerance in enumerate(pair.tolerances_mm))
    return replace(first, labels=labels)


def _tolerances(given: tuple[str, ...] | None, values: tuple[int, ...], largest_spacing_mm: float) -> tuple[float, ...]:
    if given is None:
        return (largest_spacing_mm,) * len(values)
    words = f"--tolerance-mm {','.join(given)}"
    try:
        numbers = tuple(float(word) for word in given)
    except ValueError:
        raise UsageError(f"{words}: numbers of mm are expected, e.g. --tolerance-mm 1.5") from None
    if not all(math.isfinite(number) and number > 0 for number in numbers):
        raise UsageError(f"{words}: positive numbers of mm are expected, e.g. --tolerance-mm 1.5")
    if len(numbers) not in {1, len(values)}:
        labels = ", ".join(map(str, values))
        raise UsageError(f"{words}: one number, or one for each of the labels {labels}, is expected")
    return numbers * len(values) if len(numbers) == 1 else numbers


def _missing(name: str, folder: Path) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        what="there is no prediction",
        expected=f"a label map such as {name}.nii.gz in {folder}",
        remedy="predict it, or take its reference out of --references",
        case=name,
    )
