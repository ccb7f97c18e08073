"""A tiny planned task with prepared arrays, as training sees it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from nnbox.geometry import Box, Grid, Placement
from nnbox.imaging.prepare import PreparedArrays
from nnbox.recipes import RECIPE_2019
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import (
    ConfigurationPlan,
    Normalization,
    NormalizationScheme,
    Plan,
    Resampling,
    Topology,
)
from nnbox.records.prepared import PreviousPrediction
from nnbox.training.job import TrainingJob
from nnbox.training.store import write_prepared, write_previous

TRAINING = ("case_0", "case_1", "case_2")
VALIDATION = ("case_3",)
LABELS = 2


def make_configuration(name="3d_fullres", patch=(8, 16, 16), **changes) -> ConfigurationPlan:
    dimension = len(patch)
    previous = "3d_lowres" if name == "3d_cascade" else None
    topology = Topology(
        dimension=dimension,
        input_channels=2 + (LABELS if previous else 0),
        classes=1 + LABELS,
        features=(4, 8),
        strides=((1,) * dimension, (2,) * dimension),
        kernels=((3,) * dimension,) * 2,
    )
    values = {
        "name": name,
        "store": "2d" if dimension == 2 else "3d_fullres",
        "previous": previous,
        "spacing_mm": (1.0,) * dimension,
        "median_shape": (18,) * dimension,
        "patch_size": patch,
        "batch_size": 3,
        "num_pool_per_axis": (1,) * dimension,
        "dummy_2d_augmentation": False,
        "dummy_2d_axis": None,
        "batch_dice": name != "3d_fullres",
        "full_resolution": True,
        "resampling": Resampling(target_spacing_mm=(1.0, 1.0, 1.0), separate_axis_threshold=3.0, label_order=1),
        "topology": topology,
    }
    return ConfigurationPlan(**{**values, **changes})


def make_plan(*configurations: ConfigurationPlan, **changes) -> Plan:
    normal = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False)
    values = {
        "task": "Task99_Tiny",
        "recipe": "2019",
        "trainable": True,
        "why_not_trainable": None,
        "planning_memory_gb": 12.0,
        "dimension": 3,
        "axis_order": (0, 1, 2),
        "channels": (Channel(name="T1", is_ct=False), Channel(name="T2", is_ct=False)),
        "labels": (Label(value=1, name="ball"), Label(value=2, name="box")),
        "normalizations": (normal, normal),
        "configurations": configurations,
        "choices": Choices(),
        "decisions": (),
    }
    return Plan(**{**values, **changes})


def make_case(seed: int) -> PreparedArrays:
    """A noisy image of a bright ball and a dark box at random places; the first slices are outside."""
    rng = np.random.default_rng(seed)
    shape = (12, 20 + seed, 18)
    labels = np.zeros(shape, dtype=np.int16)
    z, y, x = np.indices(shape)
    centre = rng.integers(6, 12, 3)
    labels[(z - centre[0] // 2 - 2) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= 16] = 1
    corner = rng.integers(0, 10, 2)
    labels[7:11, corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] = 2
    image = rng.standard_normal((2, *shape), dtype=np.float32)
    image += 3 * np.stack((labels == 1, labels == 2))
    labels[0] = -1
    return PreparedArrays(image=image.astype(np.float32), labels=labels, placement=_placement(shape))


def _placement(shape) -> Placement:
    return Placement(
        source_shape_vox=shape,
        axis_order=(0, 1, 2),
        crop=Box(start=(0, 0, 0), stop=shape),
        crop_spacing_mm=(1.0, 1.0, 1.0),
        prepared_shape_vox=shape,
        prepared_spacing_mm=(1.0, 1.0, 1.0),
    )


def make_grid(shape) -> Grid:
    return Grid(
        shape_vox=shape,
        spacing_mm=(1.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Four prepared cases."""
    folder = tmp_path_factory.mktemp("store")
    for index, case in enumerate((*TRAINING, *VALIDATION)):
        arrays = make_case(index)
        write_prepared(folder, case, arrays, make_grid(arrays.labels.shape))
    return folder


@pytest.fixture
def previous_store(tmp_path):
    """Out-of-fold first-stage predictions of the four cases (the references themselves)."""
    folder = tmp_path / "previous"
    for index, case in enumerate((*TRAINING, *VALIDATION)):
        labels = np.maximum(make_case(index).labels, 0)
        others = tuple(other for other in (*TRAINING, *VALIDATION) if other != case)
        origin = PreviousPrediction(case=case, configuration="3d_lowres", model_folds=(index,), trained_on=others)
        write_previous(folder, labels, origin)
    return folder


@pytest.fixture
def job(store, tmp_path) -> TrainingJob:
    """Three epochs of four steps on a network of two levels."""
    configuration = make_configuration()
    return TrainingJob(
        plan=make_plan(configuration),
        configuration=configuration,
        recipe=dataclasses.replace(RECIPE_2019, learning_rate=3e-3),
        fold=0,
        training_cases=TRAINING,
        validation_cases=VALIDATION,
        store=store,
        previous_store=None,
        folder=tmp_path / "fold_0",
        seed=7,
        epochs=3,
        iterations=4,
    )


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The makers of the tiny task, for tests that vary it."""
    return SimpleNamespace(
        training=TRAINING,
        validation=VALIDATION,
        labels=LABELS,
        case=make_case,
        grid=make_grid,
        configuration=make_configuration,
        plan=make_plan,
    )
