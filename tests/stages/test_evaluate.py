"""Scoring folders: every defect at once, and nothing scored that cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnbox.cli import main
from nnbox.errors import DataError, UsageError
from nnbox.geometry import Grid
from nnbox.imaging.io import write_labels
from nnbox.stages.evaluate import evaluate_folders

SHAPE = (4, 6, 7)


def _write(path, *, value=1, shape=SHAPE):
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 2:4, 2:5] = value
    grid = Grid(
        shape_vox=shape,
        spacing_mm=(2.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        dimension=3,
    )
    write_labels(path, labels, grid)


@pytest.fixture
def folders(tmp_path):
    """References and equal predictions of the cases a to d."""
    for folder in ("predictions", "references"):
        (tmp_path / folder).mkdir()
        for name in "abcd":
            _write(tmp_path / folder / f"{name}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def test_equal_folders_score_one(folders):
    found = evaluate_folders(*folders, None, workers=1)
    assert found.label_values == (1,)
    assert found.tolerances_mm == (2.0,)
    assert all(case.labels[0].dice == 1.0 for case in found.cases)


def test_every_defect_is_told_at_once_with_case_and_file(folders):
    predictions, references = folders
    (predictions / "a.nii.gz").unlink()
    whole = (predictions / "b.nii.gz").read_bytes()
    (predictions / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    _write(predictions / "c.nii.gz", shape=(3, 6, 7))
    with pytest.raises(DataError) as error:
        evaluate_folders(predictions, references, None, workers=1)
    assert [problem.case for problem in error.value.problems] == ["a", "b", "c"]
    for words in ("b.nii.gz: its compressed data ends early", "c.nii.gz: its size is (3, 6, 7)", "3 problems"):
        assert words in str(error.value)


def test_a_label_that_only_predictions_hold_is_scored_as_wrong_and_named(folders, capsys):
    predictions, references = folders
    _write(predictions / "a.nii.gz", value=77)
    found = evaluate_folders(predictions, references, None, workers=1)
    assert found.label_values == (1, 77)
    assert found.only_predicted == (77,)
    assert found.cases[0].labels[1].dice == 0.0
    assert main(["evaluate", "--predictions", str(predictions), "--references", str(references)]) == 0
    assert "no reference holds the label 77" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("nan",), ("-1",), ("inf",), ("0",), ("x",), ("1", "2")])
def test_impossible_tolerances_are_refused(folders, words):
    with pytest.raises(UsageError, match="--tolerance-mm"):
        evaluate_folders(*folders, words, workers=1)


def test_every_case_is_printed_as_json_and_nothing_else(folders, capsys):
    assert main(["evaluate", "--predictions", str(folders[0]), "--references", str(folders[1]), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["evaluation"]["label_values"] == [1]
    assert len(document["evaluation"]["cases"]) == len(list(folders[1].iterdir()))
