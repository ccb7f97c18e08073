"""A tiny data set and the whole line on it, in seconds."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from safetensors.torch import save_file

from nnbox.intake.options import IntakeOptions
from nnbox.network.unet import build_network
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology
from nnbox.records.results import Selection
from nnbox.stages.options import TrainOptions
from nnbox.stages.train import train
from nnbox.submission.bundle import write_bundle
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
    """The shortest run of the whole line: one configuration, five folds, two steps, two passes of eight."""
    return TrainOptions(
        input=tiny,
        output=tmp_path / "out",
        configurations=("3d_fullres",),
        epochs=2,
        iterations=2,
        device="cpu",
        planning_memory_gb=0.003,
        workers=0,
        intake=IntakeOptions(mirror_axes=("x",)),
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


@pytest.fixture(scope="session")
def make_model_in():
    """Write a bundle of small networks with random weights into a folder; return the bundle's folder."""
    return _make_model


@pytest.fixture
def make_model(tmp_path):
    """The same in the test's own folder."""
    return functools.partial(_make_model, tmp_path)


def _make_model(
    folder, *, channels=("MRI",), dimension=3, values=(1, 2), axis_order=(0, 1, 2), median=None, name="model"
):
    configuration = _small_configuration(dimension, len(channels), len(values), median)
    plan = Plan(
        task="Task90_Small",
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=dimension,
        axis_order=axis_order,
        channels=tuple(Channel(name=channel, is_ct=channel == "CT") for channel in channels),
        labels=tuple(Label(value=value, name=f"structure {value}") for value in values),
        normalizations=tuple(map(_normalization, channels)),
        configurations=(configuration,),
        choices=Choices(),
        decisions=(),
    )
    selection = Selection(
        task=plan.task,
        candidate=configuration.name,
        members=(configuration.name,),
        folds={configuration.name: (0,)},
        partial=True,
        mean_dice=None,
        mean_dice_per_label=(None,) * len(values),
        reason="the only one",
        postprocessing=(),
        trials=(),
    )
    weights = folder / f"{name}.safetensors"
    save_file(build_network(configuration.topology, seed=1).state_dict(), weights)
    write_bundle(folder / name, plan, selection, {(configuration.name, 0): weights})
    return folder / name


def _small_configuration(dimension, channels, labels, median):
    ones, twos, threes, eights = ((size,) * dimension for size in (1, 2, 3, 8))
    spacing = (2.0, 1.0, 1.5)[-dimension:]
    return ConfigurationPlan(
        name="2d" if dimension == 2 else "3d_fullres",
        store="2d" if dimension == 2 else "3d_fullres",
        previous=None,
        spacing_mm=spacing,
        median_shape=median or (10, 12, 14)[-dimension:],
        patch_size=eights,
        batch_size=2,
        num_pool_per_axis=ones,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=False,
        full_resolution=True,
        resampling=Resampling(
            target_spacing_mm=(None, *spacing) if dimension == 2 else spacing,
            separate_axis_threshold=3.0,
            label_order=1,
        ),
        topology=Topology(
            dimension=dimension,
            input_channels=channels,
            classes=labels + 1,
            features=(4, 8),
            strides=(ones, twos),
            kernels=(threes, threes),
        ),
    )


def _normalization(channel):
    if channel == "CT":
        return Normalization(
            scheme=NormalizationScheme.CT, use_nonzero_mask=False, mean=40.0, sd=60.0, lower=-100.0, upper=240.0
        )
    return Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False)
