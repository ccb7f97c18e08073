"""A small plan, a selection and weights files that fit together."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology
from nnbox.records.results import PostprocessingStep, Selection


def make_configuration(name, previous=None):
    dimension = 2 if name == "2d" else 3
    ones, twos, threes = ((size,) * dimension for size in (1, 2, 3))
    return ConfigurationPlan(
        name=name,
        store="3d_fullres" if name == "3d_cascade" else name,
        previous=previous,
        spacing_mm=(1.0,) * dimension,
        median_shape=(16,) * dimension,
        patch_size=(8,) * dimension,
        batch_size=2,
        num_pool_per_axis=ones,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=False,
        full_resolution=name != "3d_lowres",
        resampling=Resampling(target_spacing_mm=(1.0, 1.0, 1.0), separate_axis_threshold=3.0, label_order=1),
        topology=Topology(
            dimension=dimension,
            input_channels=3 if previous else 1,
            classes=3,
            features=(4, 8),
            strides=(ones, twos),
            kernels=(threes, threes),
        ),
    )


@pytest.fixture
def plan():
    return Plan(
        task="Task90_Test",
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=(0, 1, 2),
        channels=(Channel(name="MRI", is_ct=False),),
        labels=(Label(value=1, name="one"), Label(value=3, name="three")),
        normalizations=(Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False),),
        configurations=(
            make_configuration("2d"),
            make_configuration("3d_fullres"),
            make_configuration("3d_lowres"),
            make_configuration("3d_cascade", previous="3d_lowres"),
        ),
        choices=Choices(),
        decisions=(),
    )


@pytest.fixture
def selection():
    return Selection(
        task="Task90_Test",
        candidate="2d+3d_cascade",
        members=("2d", "3d_cascade"),
        folds={"2d": (0, 1), "3d_cascade": (0, 1), "3d_lowres": (0, 1)},
        partial=True,
        mean_dice=0.8,
        mean_dice_per_label=(0.8, None),
        reason="the highest",
        postprocessing=(PostprocessingStep(label=0),),
        trials=(),
    )


@pytest.fixture
def weights(tmp_path, selection):
    files = {}
    for configuration, folds in selection.folds.items():
        for fold in folds:
            path = tmp_path / "training" / configuration / f"fold_{fold}" / "weights.safetensors"
            path.parent.mkdir(parents=True)
            save_file({"weight": np.full((2, 3), len(files), np.float32)}, path)
            files[configuration, fold] = path
    return files


@pytest.fixture
def replace():
    return dataclasses.replace
