"""``check-submission``: a result archive against the test images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnbox.errors import DataError, Problem
from nnbox.geometry import Grid
from nnbox.imaging.header import ImageReadError
from nnbox.imaging.io import read_header, read_labels
from nnbox.layouts.detect import detect, find_tasks
from nnbox.records.dataset import Case
from nnbox.submission.check import check_submission
from nnbox.submission.expected import ExpectedCase, cases_that_may_be_absent


def check_archive(archive: Path, root: Path, listing: Path | None) -> tuple[tuple[Problem, ...], int]:
    """Return every defect of an archive, and how many cases it must hold.

    Args:
        archive: the zip.
        root: the data set, or a root of several tasks.
        listing: JSON list of cases that need not be there; None: the Decathlon's eleven unscored ones.

    Raises:
        DataError: the data set has no test images, or its labels are not declared anywhere.
    """
    if not archive.is_file():
        state = "is no file" if archive.exists() else "does not exist"
        raise DataError(f"{archive} {state}; a result archive (.zip) is expected")
    expected = tuple(case for task in find_tasks(root) for case in _expected(task))
    if not expected:
        raise DataError(f"{root} has no unlabelled test images to check an archive against")
    return check_submission(archive, expected, cases_that_may_be_absent(expected, listing)), len(expected)


def _expected(root: Path) -> list[ExpectedCase]:
    draft = detect(root)
    if draft.labels is not None:
        values = tuple(label.value for label in draft.labels)
    elif draft.layout == "bare" and draft.cases:
        values = _inferred_labels(root, draft.cases)
    else:
        raise DataError(
            f"{root} does not declare its labels. What to do: name the data set that the model was trained on, with a "
            "dataset.json or a labelsTr folder, with --input."
        )
    return [
        ExpectedCase(
            task=draft.task,
            output_name=case.output_name,
            grid=_grid(root / case.images[0]),
            label_values=values,
        )
        for case in draft.test_cases
    ]


def _grid(image: Path) -> Grid:
    try:
        return read_header(image).grid
    except ImageReadError as failure:
        remedy = "What to do: replace this test image by a whole one; the archive is compared with it."
        raise DataError(f"{image}: {failure.what}; expected {failure.expected}. {remedy}") from None


def _inferred_labels(root: Path, cases: Sequence[Case]) -> tuple[int, ...]:
    """Return the foreground values that occur in the label maps, as training infers them without a dataset.json."""
    found: set[int] = set()
    for case in cases:
        if case.label is not None:
            try:
                values, _ = read_labels(root / case.label)
            except ImageReadError as failure:
                raise DataError(f"{failure.path}: {failure.what}; expected {failure.expected}") from None
            found.update(int(value) for value in np.unique(values))
    return tuple(sorted(found - {0}))
