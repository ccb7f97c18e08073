"""Whole runs of the command line on a tiny data set."""

from __future__ import annotations

import dataclasses
import json

import pytest
from tiny_runs import Runs

from nnbox.synthesize import PRESETS, synthesize

TINY = dataclasses.replace(
    PRESETS["smoke"],
    name="tiny",
    training_cases=4,
    test_cases=2,
    shape_vox=((8, 10), (14, 16), (14, 16)),
    radius_mm=((3.0, 4.0), (3.0, 4.0)),
    distractor_share=0.0,
)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Call with the words of a command line, and by name with variables of its environment."""
    found = Runs(tmp_path_factory.mktemp("runs"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A data set of four cases, two test images, and two ready folds; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("data") / "Task01_Tiny"
    synthesize(folder, TINY, 0)
    names = sorted(path.name.removesuffix(".nii.gz") for path in (folder / "labelsTr").iterdir())
    folder.with_name("splits.json").write_text(json.dumps([names[:2], names[2:]]))
    return folder


@pytest.fixture(scope="session")
def large_data(tiny_data, tmp_path_factory):
    """The same with images that are larger, prepared, than any record of a run."""
    folder = tmp_path_factory.mktemp("large") / "Task01_Tiny"
    synthesize(folder, dataclasses.replace(TINY, shape_vox=((20, 21), (40, 41), (40, 41))), 0)
    folder.with_name("splits.json").write_text(tiny_data.with_name("splits.json").read_text())
    return folder
