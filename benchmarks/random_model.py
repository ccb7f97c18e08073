"""A model bundle of random weights and images to predict with it: what a measurement of memory or time needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnbox.geometry import Shape3, Spacing3
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology
from nnbox.records.results import PostprocessingStep, Selection
from nnbox.synthesize.files import write_volume

_SPACING_MM: Spacing3 = (2.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What decides how much memory a model needs.

    Attributes:
        labels: foreground labels; one class more.
        patch: of the network, in voxels.
        features: of each level.
        folds: members of the ensemble.
        names: the configurations, all alike but for their spacing; a ``3d_cascade`` brings its first stage.
        postprocessing: keep the largest component of each label.
        is_ct: of the one channel, whose values are then clipped: air is constant.
    """

    labels: int
    patch: tuple[int, ...]
    features: tuple[int, ...]
    folds: int = 1
    names: tuple[str, ...] = ("3d_fullres",)
    postprocessing: bool = False
    is_ct: bool = False


def write_model(folder: Path, size: ModelSize) -> Path:
    """Write a bundle into a new folder; return it."""
    from safetensors.torch import save_file

    from nnbox.network.unet import build_network
    from nnbox.submission.bundle import write_bundle

    names = (*size.names, *(("3d_lowres",) if "3d_cascade" in size.names else ()))
    configurations = tuple(_configuration(name, size) for name in names)
    weights = {}
    folder.mkdir(parents=True)
    for number, configuration in enumerate(configurations):
        for fold in range(size.folds):
            path = folder / f"{configuration.name}-{fold}.safetensors"
            network = build_network(configuration.topology, seed=10 * number + fold)
            save_file(network.state_dict(), path)
            weights[configuration.name, fold] = path
    write_bundle(folder / "model", _plan(size, configurations), _selection(size, names), weights)
    return folder / "model"


def write_images(
    folder: Path, shape_vox: Shape3, *, count: int = 1, spacing_mm: Spacing3 = _SPACING_MM, air_slices: int = 0
) -> None:
    """Write images of smooth noise, int16, nowhere zero, into a new flat folder; the first slices may be air, -1000."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(1, 1200, tuple(-(-size // 8) for size in shape_vox), dtype=np.int16)
        values = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)[tuple(slice(size) for size in shape_vox)]
        values[:air_slices] = -1000
        write_volume(folder / f"case_{number}.nii.gz", np.ascontiguousarray(values), spacing_mm)


def _plan(size: ModelSize, configurations: tuple[ConfigurationPlan, ...]) -> Plan:
    by_case = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False)
    clipped = Normalization(
        scheme=NormalizationScheme.CT, use_nonzero_mask=False, mean=600.0, sd=350.0, lower=0.0, upper=1200.0
    )
    return Plan(
        task="Task80_Random",
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=(0, 1, 2),
        channels=(Channel(name="CT" if size.is_ct else "MRI", is_ct=size.is_ct),),
        labels=tuple(Label(value=value, name=f"structure {value}") for value in range(1, size.labels + 1)),
        normalizations=(clipped if size.is_ct else by_case,),
        configurations=configurations,
        choices=Choices(),
        decisions=(),
    )


def _selection(size: ModelSize, names: tuple[str, ...]) -> Selection:
    steps = tuple(PostprocessingStep(label=label) for label in range(1, size.labels + 1) if size.postprocessing)
    return Selection(
        task="Task80_Random",
        candidate="+".join(size.names),
        members=size.names,
        folds={name: tuple(range(size.folds)) for name in names},
        partial=True,
        mean_dice=None,
        mean_dice_per_label=(None,) * size.labels,
        reason="random weights",
        postprocessing=steps,
        trials=(),
    )


def _configuration(name: str, size: ModelSize) -> ConfigurationPlan:
    dimension = 2 if name == "2d" else 3
    levels = len(size.features)
    patch = size.patch[-dimension:]
    spacing = tuple(value * (2.0 if name == "3d_lowres" else 1.0) for value in _SPACING_MM)
    ones, twos, threes = ((value,) * dimension for value in (1, 2, 3))
    return ConfigurationPlan(
        name=name,
        store={"3d_cascade": "3d_fullres"}.get(name, name),
        previous="3d_lowres" if name == "3d_cascade" else None,
        spacing_mm=spacing[-dimension:],
        median_shape=patch,
        patch_size=patch,
        batch_size=2,
        num_pool_per_axis=(levels - 1,) * dimension,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=False,
        full_resolution=name != "3d_lowres",
        resampling=Resampling(
            target_spacing_mm=(None, *spacing[1:]) if dimension == 2 else (spacing[0], spacing[1], spacing[2]),
            separate_axis_threshold=3.0,
            label_order=1,
        ),
        topology=Topology(
            dimension=dimension,
            input_channels=1 + (size.labels if name == "3d_cascade" else 0),
            classes=size.labels + 1,
            features=size.features,
            strides=(ones, *(twos,) * (levels - 1)),
            kernels=(threes,) * levels,
        ),
    )
