"""How large the made-up image of a rehearsal is: as the plan's median, unless that is large."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbox.geometry import Shape3, Spacing3
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.records.results import Selection

MOST_VOXELS = 2**21
"""What is large: more than 128 x 128 x 128 voxels, for which a CPU needs minutes per fold with all mirrorings."""
_SLICES = 8  # of a volume whose model has 2D networks only, so that its plan names no size along the third axis


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """Size and spacing of an image in source order (z, y, x)."""

    shape_vox: Shape3
    spacing_mm: Spacing3


def median_image(plan: Plan, selection: Selection) -> ImageSize:
    """Return the plan's median image, of the selected configuration whose images are largest."""
    configuration = _largest(plan, selection)
    return _in_source_order(plan, configuration, configuration.median_shape)


def patch_image(plan: Plan, selection: Selection) -> ImageSize:
    """Return the median image cut to one patch: a single tile."""
    configuration = _largest(plan, selection)
    return _in_source_order(plan, configuration, _tile(configuration))


def rehearsed_image(plan: Plan, selection: Selection, *, full_size: bool) -> ImageSize:
    """Return the median image; where it is large, smaller along all axes alike, but no axis below a patch."""
    configuration = _largest(plan, selection)
    shape = configuration.median_shape
    if not full_size and math.prod(shape) > MOST_VOXELS:
        factor = (MOST_VOXELS / math.prod(shape)) ** (1 / len(shape))
        shape = tuple(max(low, int(size * factor)) for low, size in zip(_tile(configuration), shape, strict=True))
    return _in_source_order(plan, configuration, shape)


def _tile(configuration: ConfigurationPlan) -> tuple[int, ...]:
    pairs = zip(configuration.patch_size, configuration.median_shape, strict=True)
    return tuple(min(patch, size) for patch, size in pairs)


def _largest(plan: Plan, selection: Selection) -> ConfigurationPlan:
    members = [plan.configuration(name) for name in selection.members]
    return max(members, key=lambda item: (len(item.median_shape), math.prod(item.median_shape)))


def _in_source_order(plan: Plan, configuration: ConfigurationPlan, shape: tuple[int, ...]) -> ImageSize:
    """Put a configuration's size (working order, 2 or 3 axes) into the file's order."""
    spacing = configuration.spacing_mm
    if len(shape) == 2:
        # The first working axis is the one along which a 2D network goes slice by slice.
        shape, spacing = (1 if plan.dimension == 2 else _SLICES, *shape), (max(1.0, *spacing), *spacing)
        if plan.dimension == 2:
            spacing = (1.0, *spacing[1:])
    placed = dict(zip(plan.axis_order, zip(shape, spacing, strict=True), strict=True))
    sizes, spacings = zip(*(placed[axis] for axis in range(3)), strict=True)
    return ImageSize(
        shape_vox=(int(sizes[0]), int(sizes[1]), int(sizes[2])),
        spacing_mm=(float(spacings[0]), float(spacings[1]), float(spacings[2])),
    )
