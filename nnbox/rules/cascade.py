"""When a cascade is configured, and how coarse its first stage is."""

from __future__ import annotations

import math
from collections.abc import Callable

from nnbox.geometry import Spacing3
from nnbox.rules.spacing import shape_at

HELD_PATCHES = 4
STEP_2019 = 1.01
KEPT_FACTOR_2019 = 1.5
KEPT_FACTOR_2021 = 2.0
Shape = tuple[float, float, float]


def needs_cascade_2018(median_voxels: int, patch_voxels: float) -> bool:
    """Tell whether the median shape holds more than 4 of the largest patches (128³ voxels).

    Source: 2018 §2.2
    """
    return median_voxels > HELD_PATCHES * patch_voxels


def needs_cascade_2019(median_voxels: int, patch_voxels: float) -> bool:
    """Tell whether the typical patch (64·192·160) covers a quarter of the median shape or less.

    Source: 2019 §2.2 (the patch covers less than 25 %), release (a constant patch, equality counts)
    """
    return median_voxels >= HELD_PATCHES * patch_voxels


def coarsen_2018(spacing_mm: Spacing3) -> Spacing3:
    """Double the spacing of the axes at least 2x finer than the coarsest, else of all axes.

    Source: 2018 §2.2
    """
    coarsest = max(spacing_mm)
    fine = [coarsest / spacing >= 2 for spacing in spacing_mm]
    return _multiply(spacing_mm, fine, 2.0)


def coarsen_2019(spacing_mm: Spacing3) -> Spacing3:
    """Raise by 1 % the spacing of the axes finer than half the coarsest while there are any, then of all.

    Source: release
    """
    coarsest = max(spacing_mm)
    fine = [coarsest / spacing > 2 for spacing in spacing_mm]
    return _multiply(spacing_mm, fine, STEP_2019)


def search_low_resolution(
    median_vox: Shape,
    spacing_mm: Spacing3,
    *,
    coarsen: Callable[[Spacing3], Spacing3],
    limit: Callable[[Spacing3], float],
) -> Spacing3:
    """Coarsen, at least once, until the unrounded median shape holds at most ``limit`` voxels.

    Whether there is a cascade is decided on the rounded shape; where only rounding lifted it over the limit, the first
    step is taken all the same, so that the low resolution is never the full one.

    Args:
        median_vox: unrounded median shape at full resolution.
        spacing_mm: full resolution.
        coarsen: one step.
        limit: voxels allowed at a spacing (2021: 4 times the patch planned there; else a constant).

    Source: 2018 §2.2; release for 2019 and 2021; own (at least once)
    """
    current = coarsen(spacing_mm)
    while math.prod(shape_at(median_vox, spacing_mm, current)) > limit(current):
        current = coarsen(current)
    return current


def keeps_low_resolution(full_voxels: int, low_voxels: int, factor: float) -> bool:
    """Tell whether the low resolution is worth a network: ``factor`` times its voxels are still fewer.

    Source: release (2019: 1.5, 2021: 2)
    """
    return factor * low_voxels < full_voxels


def _multiply(spacing_mm: Spacing3, chosen: list[bool], factor: float) -> Spacing3:
    everywhere = not any(chosen)
    z, y, x = (
        spacing * factor if everywhere or fine else spacing for spacing, fine in zip(spacing_mm, chosen, strict=True)
    )
    return (z, y, x)
