"""Data augmentation: the ranges, and drawing one sample's parameters. Applying them is training's work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnbox.recipes import Recipe
from nnbox.records.augmentation import Elastic, MaskOperation, SampleAugmentation
from nnbox.records.plan import ConfigurationPlan, Plan

ELASTIC_P = ROTATION_P = SCALE_P = 0.2
GAMMA_P = 0.3
MIRROR_P = 0.5
MASK_P = 0.4
REMOVAL_P = 0.2
REMOVAL_LARGEST_SHARE = 0.15
ALPHA_3D, ALPHA_2D = (0.0, 900.0), (0.0, 200.0)
SIGMA_VOX = (9.0, 13.0)
ANGLE_DEG, ANGLE_2D_DEG = 15.0, 180.0
NARROW_ASPECT = 1.5
SCALE_SMALLER, SCALE_LARGER = (0.85, 1.0), (1.0, 1.25)
GAMMA_SMALLER, GAMMA_LARGER = (0.7, 1.0), (1.0, 1.5)
MASK_OPERATORS = ("dilation", "erosion", "opening", "closing")
MASK_RADII_VOX = (1, 8)
AXIS_NAMES = ("z", "y", "x")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationSpec:
    """What may be drawn for one configuration.

    Attributes:
        dimension: axes of the patch, 2 or 3.
        slice_axis: patch axis along which a 3D patch is augmented slice by slice, or None.
        alpha: range of the elastic amplitude.
        angle_rad: largest rotation in either direction, about each axis that may be turned.
        channels: image channels.
        mirror_axes: patch axes that may be mirrored.
        previous_labels: labels of the previous stage (cascade), 0 if there is none.
    """

    dimension: int
    slice_axis: int | None
    alpha: tuple[float, float]
    angle_rad: float
    channels: int
    mirror_axes: tuple[int, ...]
    previous_labels: int

    @property
    def spatial_axes(self) -> tuple[int, ...]:
        """Patch axes that elastic deformation, rotation and scaling act on."""
        return tuple(axis for axis in range(self.dimension) if axis != self.slice_axis)


def augmentation_spec(configuration: ConfigurationPlan, plan: Plan) -> AugmentationSpec:
    """Choose the ranges for a configuration: 2D ranges in a plane, 3D ranges in a volume.

    In a plane the rotation is free, or within 15 degrees where the patch is more than 1.5 times longer than wide.

    Source: release (numbers), 2018 §2.3, 2019 §2.2 (in plane where the data is anisotropic)
    """
    patch = configuration.patch_size
    dimension = len(patch)
    slice_axis = configuration.dummy_2d_axis if configuration.dummy_2d_augmentation else None
    plane = [size for axis, size in enumerate(patch) if axis != slice_axis]
    in_plane = len(plane) == 2
    narrow = max(plane) > NARROW_ASPECT * min(plane)
    angle = ANGLE_2D_DEG if in_plane and not narrow else ANGLE_DEG
    return AugmentationSpec(
        dimension=dimension,
        slice_axis=slice_axis,
        alpha=ALPHA_2D if in_plane else ALPHA_3D,
        angle_rad=math.radians(angle),
        channels=len(plan.channels),
        mirror_axes=mirror_axes(plan, dimension),
        previous_labels=len(plan.labels) if configuration.previous else 0,
    )


def mirror_axes(plan: Plan, dimension: int) -> tuple[int, ...]:
    """Return the axes of a patch with ``dimension`` axes that may be mirrored, in training and in prediction.

    All of them, unless the user allowed only some (``--mirror-axes``, named in the order of the source).

    Source: 2018 §2.3, 2019 §2.3, own (the restriction)
    """
    allowed = plan.choices.mirror_axes
    names = [AXIS_NAMES[source] for source in plan.axis_order[3 - dimension :]]
    return tuple(axis for axis, name in enumerate(names) if allowed is None or name in allowed)


def slicewise_axis(patch_vox: Sequence[int], recipe: Recipe) -> int | None:
    """Return the axis along which a 3D patch is augmented slice by slice, or None.

    2018: the shortest axis, when the longest edge is more than twice the shortest. 2019: the first axis, when the
    longest edge is more than three times it.

    Source: 2018 §2.3; release for 2019
    """
    axis = min(range(3), key=lambda index: patch_vox[index]) if recipe.slicewise_against_shortest else 0
    return axis if max(patch_vox) > recipe.slicewise_ratio * patch_vox[axis] else None


def draw_augmentation(rng: np.random.Generator, *, spec: AugmentationSpec) -> SampleAugmentation:
    """Draw everything random about one sample, each transform independently of the others.

    Source: release (2018 §2.3 and 2019 §2.2 name the transforms without numbers)
    """
    elastic = _draw_elastic(rng, spec)
    angles = 1 if len(spec.spatial_axes) == 2 else 3
    rotated = rng.uniform() < ROTATION_P
    angles_rad = tuple(float(value) for value in rng.uniform(-spec.angle_rad, spec.angle_rad, size=angles))
    scaled = rng.uniform() < SCALE_P
    scale = _either(rng, SCALE_SMALLER, SCALE_LARGER)
    operations, removal = _draw_mask_changes(rng, spec.previous_labels)
    return SampleAugmentation(
        elastic=elastic,
        angles_rad=angles_rad if rotated else None,
        scale=scale if scaled else None,
        gammas=tuple(_draw_gamma(rng) for _ in range(spec.channels)),
        mirror_axes=tuple(axis for axis in spec.mirror_axes if rng.uniform() < MIRROR_P),
        mask_operations=operations,
        removal=removal,
    )


def _draw_elastic(rng: np.random.Generator, spec: AugmentationSpec) -> Elastic | None:
    if rng.uniform() >= ELASTIC_P:
        return None
    return Elastic(
        alpha=float(rng.uniform(*spec.alpha)), sigma=float(rng.uniform(*SIGMA_VOX)), noise_seed=int(rng.integers(2**63))
    )


def _draw_gamma(rng: np.random.Generator) -> float | None:
    return _either(rng, GAMMA_SMALLER, GAMMA_LARGER) if rng.uniform() < GAMMA_P else None


def _either(rng: np.random.Generator, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Draw from one of two ranges, half each."""
    return float(rng.uniform(*(low if rng.uniform() < 0.5 else high)))


def _draw_mask_changes(
    rng: np.random.Generator, labels: int
) -> tuple[tuple[MaskOperation, ...], tuple[tuple[int, float], ...]]:
    """Draw the changes of a previous stage's labels 1..labels; none where there is no previous stage."""
    if labels == 0:
        return (), ()
    operations: tuple[MaskOperation, ...] = ()
    if rng.uniform() < MASK_P:
        operations = tuple(
            MaskOperation(
                label=int(label) + 1,
                operator=MASK_OPERATORS[int(rng.integers(len(MASK_OPERATORS)))],
                radius_vox=int(rng.integers(MASK_RADII_VOX[0], MASK_RADII_VOX[1] + 1)),
            )
            for label in rng.permutation(labels)
        )
    removal: tuple[tuple[int, float], ...] = ()
    if rng.uniform() < REMOVAL_P:
        removal = ((int(rng.integers(labels)) + 1, float(rng.uniform())),)
    return operations, removal
