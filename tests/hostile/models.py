"""A model bundle with random weights, for rows of `predict`."""

from __future__ import annotations

from pathlib import Path

from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology
from nnbox.records.results import Selection

TASK = "Small"


def small_plan() -> Plan:
    ones, twos, threes, eights = ((size,) * 3 for size in (1, 2, 3, 8))
    configuration = ConfigurationPlan(
        name="3d_fullres",
        store="3d_fullres",
        previous=None,
        spacing_mm=(2.0, 0.9, 0.8),
        median_shape=(6, 10, 12),
        patch_size=eights,
        batch_size=2,
        num_pool_per_axis=ones,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=False,
        full_resolution=True,
        resampling=Resampling(target_spacing_mm=(2.0, 0.9, 0.8), separate_axis_threshold=3.0, label_order=1),
        topology=Topology(
            dimension=3,
            input_channels=1,
            classes=3,
            features=(4, 8),
            strides=(ones, twos),
            kernels=(threes, threes),
        ),
    )
    return Plan(
        task=TASK,
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=(0, 1, 2),
        channels=(Channel(name="MRI", is_ct=False),),
        labels=(Label(value=1, name="one"), Label(value=2, name="two")),
        normalizations=(Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False),),
        configurations=(configuration,),
        choices=Choices(),
        decisions=(),
    )


def small_selection() -> Selection:
    return Selection(
        task=TASK,
        candidate="3d_fullres",
        members=("3d_fullres",),
        folds={"3d_fullres": (0,)},
        partial=True,
        mean_dice=None,
        mean_dice_per_label=(None, None),
        reason="the only one",
        postprocessing=(),
        trials=(),
    )


def write_model(folder: Path) -> Path:
    """Write a bundle folder; return it."""
    from safetensors.torch import save_file

    from nnbox.network.unet import build_network
    from nnbox.submission.bundle import write_bundle

    plan = small_plan()
    weights = folder / "weights.safetensors"
    save_file(build_network(plan.configurations[0].topology, seed=1).state_dict(), weights)
    write_bundle(folder / "model", plan, small_selection(), {("3d_fullres", 0): weights})
    return folder / "model"
