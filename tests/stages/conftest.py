"""A tiny data set and the whole line on it, in seconds."""

from __future__ import annotations

import dataclasses

import pytest

from nnbox.stages.options import TrainOptions
from nnbox.stages.train import train
from nnbox.synthesize import PRESETS, synthesize

TINY = dataclasses.replace(
    PRESETS["smoke"],
    name="tiny",
    training_cases=5,
    test_cases=2,
    shape_vox=((8, 10), (14, 16), (14, 16)),
    radius_mm=((3.0, 4.0), (3.0, 4.0)),
    distractor_share=0.0,
)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory):
    """A data set that tests copy before they change it."""
    folder = tmp_path_factory.mktemp("tiny") / "Task01_Tiny"
    synthesize(folder, TINY, 0)
    return folder


@pytest.fixture
def tiny(tiny_source, tmp_path):
    """A tiny data set of the test's own."""
    import shutil

    target = tmp_path / "data" / "Task01_Tiny"
    shutil.copytree(tiny_source, target, copy_function=shutil.copy2)
    return target


@pytest.fixture
def tiny_options(tiny, tmp_path):
    """The shortest run of the whole line: one configuration, five folds, two steps."""
    return TrainOptions(
        input=tiny,
        output=tmp_path / "out",
        configurations=("3d_fullres",),
        epochs=2,
        iterations=2,
        device="cpu",
        planning_memory_gb=0.003,
        workers=0,
    )


class Listener:
    """Keeps what was said."""

    def __init__(self):
        self.said = []

    def __call__(self, severity, sentence):
        self.said.append(sentence)

    @property
    def text(self):
        return "\n".join(self.said)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture(scope="session")
def finished(tiny_source, tmp_path_factory):
    """A finished run over all configurations; read only."""
    out = tmp_path_factory.mktemp("finished")
    options = TrainOptions(
        input=tiny_source,
        output=out,
        epochs=1,
        iterations=2,
        device="cpu",
        planning_memory_gb=0.0015,
        workers=0,
    )
    listener = Listener()
    outcomes = train(options, listener)
    return out, options, outcomes, listener
