"""``check-submission``: a result archive against the test images of a data set."""

from __future__ import annotations

from pathlib import Path

from nnbox.errors import DataError, Problem
from nnbox.imaging.io import read_header
from nnbox.layouts.detect import detect, find_tasks
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
        raise DataError(f"{archive} does not exist; a result archive is expected")
    expected = tuple(case for task in find_tasks(root) for case in _expected(task))
    if not expected:
        raise DataError(f"{root} has no unlabelled test images to check an archive against")
    return check_submission(archive, expected, cases_that_may_be_absent(expected, listing)), len(expected)


def _expected(root: Path) -> list[ExpectedCase]:
    draft = detect(root)
    if draft.labels is None:
        raise DataError(f"{root} does not declare its labels; a dataset.json is expected")
    values = tuple(label.value for label in draft.labels)
    return [
        ExpectedCase(
            task=draft.task,
            output_name=case.output_name,
            grid=read_header(root / case.images[0]).grid,
            label_values=values,
        )
        for case in draft.test_cases
    ]
