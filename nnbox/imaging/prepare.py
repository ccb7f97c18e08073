"""Preprocessing of one case: transpose, crop, resample, normalise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import ResourceError
from nnbox.geometry import Box, Grid, Placement, Shape3, Spacing3, tidy_spacing_mm
from nnbox.imaging.crop import nonzero_box
from nnbox.imaging.labels import resample_labels
from nnbox.imaging.normalize import normalize
from nnbox.imaging.resample import resample_image
from nnbox.limits import SMALL_BYTES, available_memory_bytes
from nnbox.records.plan import ConfigurationPlan, Plan, Resampling
from nnbox.rules.resampling import new_shape, separate_axis

OUTSIDE = -1
"""Label of voxels outside the non-zero mask; counts as background in loss, metrics and padding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedArrays:
    """A case as the network sees it, in working order.

    Attributes:
        image: (channel, z, y, x) float32, normalised.
        labels: (z, y, x) int16, `OUTSIDE` outside the non-zero mask; None for a case without reference.
        placement: how the arrays lie in the source image.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16] | None
    placement: Placement


def prepare(
    image: NDArray[np.float32],
    labels: NDArray[np.integer] | None,
    grid: Grid,
    plan: Plan,
    configuration: ConfigurationPlan,
) -> PreparedArrays:
    """Bring a case to the working frame, spacing and intensity scale of a configuration.

    Source: 2018 §2.2, 2019 §2.1, release (crop, then resample, then normalise).

    Args:
        image: (channel, z, y, x) float32, source order; not changed.
        labels: (z, y, x) consecutive labels 0..K on the same grid, or None; not changed.
        grid: of the image.
        plan: gives axis order and normalisation.
        configuration: gives the resampling.
    """
    return prepare_each(image, labels, grid, plan, (configuration,))[0]


def prepare_each(
    image: NDArray[np.float32],
    labels: NDArray[np.integer] | None,
    grid: Grid,
    plan: Plan,
    configurations: Sequence[ConfigurationPlan],
) -> tuple[PreparedArrays, ...]:
    """Prepare a case for several configurations; those that ask for the same get the same object. See `prepare`."""
    working = np.transpose(image, (0, *(1 + axis for axis in plan.axis_order)))
    box, mask = nonzero_box(working)
    inner = working[(slice(None), *box.slices)]
    found: dict[Way, PreparedArrays] = {}
    results = []
    for configuration in configurations:
        way = way_of(placement_of(grid, plan.axis_order, box, configuration.resampling), configuration.resampling)
        if way not in found:
            image_labels = None if labels is None else _cropped(labels, mask, way.placement)
            found[way] = _prepared(inner, image_labels, mask, plan, way)
        results.append(found[way])
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """All that decides how a cropped case is resampled; what is prepared in the same way is prepared once.

    Attributes:
        placement: of the case in the prepared arrays.
        separate_axis: working axis along which it is resampled slice by slice, or None.
        label_order: of the interpolation of labels.
    """

    placement: Placement
    separate_axis: int | None
    label_order: int


def way_of(placement: Placement, resampling: Resampling) -> Way:
    """Return how a configuration resamples a case."""
    if placement.crop.shape_vox == placement.prepared_shape_vox:  # nothing is resampled, so that it does not matter how
        return Way(placement=placement, separate_axis=None, label_order=0)
    apart = separate_axis(placement.crop_spacing_mm, resampling.target_spacing_mm, resampling.separate_axis_threshold)
    return Way(placement=placement, separate_axis=apart, label_order=resampling.label_order)


def _cropped(labels: NDArray[np.integer], mask: NDArray[np.bool_], placement: Placement) -> NDArray[np.int16]:
    cropped = placement.place(labels).astype(np.int16)
    cropped[(cropped == 0) & ~mask] = OUTSIDE
    return cropped


def _prepared(
    image: NDArray[np.float32], labels: NDArray[np.int16] | None, mask: NDArray[np.bool_], plan: Plan, way: Way
) -> PreparedArrays:
    shape_vox, apart = way.placement.prepared_shape_vox, way.separate_axis
    require_memory(len(image), way.placement)
    resampled = resample_image(image, shape_vox, separate_axis=apart)
    resampled_mask = resample_labels(mask.view(np.uint8), shape_vox, order=0, separate_axis=apart).view(np.bool_)
    normalize(resampled, plan.normalizations, resampled_mask, out=resampled)
    return PreparedArrays(
        image=resampled,
        labels=None
        if labels is None
        else resample_labels(labels, shape_vox, order=way.label_order, separate_axis=apart),
        placement=way.placement,
    )


def require_memory(channels: int, placement: Placement) -> None:
    """Refuse a spacing that makes an image larger than the memory, before any is taken.

    Raises:
        ResourceError: with the numbers.
    """
    needed = 4 * channels * math.prod(placement.prepared_shape_vox)
    if needed > SMALL_BYTES and needed > (available := available_memory_bytes()):
        old, new = placement.source_shape_vox, placement.prepared_shape_vox
        raise ResourceError(
            f"an image of {old} voxels (z, y, x) becomes one of {new} at the plan's spacing "
            f"{placement.prepared_spacing_mm} mm: {needed / 2**30:,.1f} GiB, and {available / 2**30:.1f} GiB of memory "
            "are available. What to do: check the image's spacing, use a model of another spacing, or give more memory."
        )


def placement_of(grid: Grid, axis_order: tuple[int, int, int], box: Box, resampling: Resampling) -> Placement:
    """Return how a case of a grid, cropped to a box (working order), lies in the arrays of a configuration."""
    tidy = tidy_spacing_mm(grid.spacing_mm)
    z, y, x = (tidy[axis] for axis in axis_order)
    spacing_mm: Spacing3 = (z, y, x)
    first, second, third = resampling.target_spacing_mm
    shape_vox: Shape3 = new_shape(box.shape_vox, spacing_mm, resampling.target_spacing_mm)
    return Placement(
        source_shape_vox=grid.shape_vox,
        axis_order=axis_order,
        crop=box,
        crop_spacing_mm=spacing_mm,
        prepared_shape_vox=shape_vox,
        prepared_spacing_mm=(spacing_mm[0] if first is None else first, second, third),
    )
