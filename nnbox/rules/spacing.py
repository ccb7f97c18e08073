"""Target spacing, order of axes and typical shape. Pure functions of the fingerprint's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnbox.geometry import Shape3, Spacing3

ANISOTROPY_2021 = 3.0
COARSE_PERCENTILE_2021 = 10.0


def target_spacing(spacings_mm: Sequence[Spacing3]) -> Spacing3:
    """Return per axis the median spacing over the training cases, in mm, in the order of the input.

    Source: 2018 §2.2, 2019 §2.1
    """
    z, y, x = (float(value) for value in np.median(np.asarray(spacings_mm, dtype=np.float64), axis=0))
    return (z, y, x)


def target_spacing_2021(spacings_mm: Sequence[Spacing3], shapes_vox: Sequence[Shape3]) -> Spacing3:
    """Return the median spacing, or for a very coarse axis the 10th percentile of that axis.

    The axis must be more than 3 times coarser than the next and hold, at the acquired resolution, less than a third of
    the voxels of the smallest other axis. The result is never below the larger of the other two targets.

    Source: release (2021)
    """
    median = target_spacing(spacings_mm)
    coarse = coarsest_axis(median)
    others = [axis for axis in range(3) if axis != coarse]
    next_coarsest = max(median[axis] for axis in others)
    sizes = np.median(np.asarray(shapes_vox, dtype=np.float64), axis=0)
    far_coarser = median[coarse] > ANISOTROPY_2021 * next_coarsest
    few_voxels = ANISOTROPY_2021 * sizes[coarse] < min(sizes[axis] for axis in others)
    if not (far_coarser and few_voxels):
        return median
    low = float(np.percentile(np.asarray(spacings_mm, dtype=np.float64)[:, coarse], COARSE_PERCENTILE_2021))
    z, y, x = (max(low, next_coarsest) if axis == coarse else median[axis] for axis in range(3))
    return (z, y, x)


def coarsest_axis(spacing_mm: Sequence[float]) -> int:
    """Return the axis of the largest spacing, the earlier one on ties.

    Source: 2019 §2.1
    """
    return max(range(len(spacing_mm)), key=lambda axis: (spacing_mm[axis], -axis))


def choose_axis_order(median_spacing_mm: Spacing3, dimension: int) -> tuple[int, int, int]:
    """Move the axis of the largest median spacing first; the others keep their order.

    One order for all cases. A 2D image keeps its only slice axis first.

    Source: 2019 §2.1
    """
    first = coarsest_axis(median_spacing_mm) if dimension == 3 else 0
    y, x = (axis for axis in range(3) if axis != first)
    return (first, y, x)


def median_shape(
    shapes_vox: Sequence[Shape3], spacings_mm: Sequence[Spacing3], target_mm: Spacing3
) -> tuple[float, float, float]:
    """Return the median over cases of shape · spacing / target, in voxels, each case unrounded.

    Source: 2018 §2.2
    """
    extents = np.asarray(shapes_vox, dtype=np.float64) * np.asarray(spacings_mm, dtype=np.float64)
    z, y, x = (float(value) for value in np.median(extents / np.asarray(target_mm, dtype=np.float64), axis=0))
    return (z, y, x)


def shape_at(median_vox: tuple[float, float, float], from_mm: Spacing3, to_mm: Spacing3) -> tuple[float, float, float]:
    """Return the unrounded typical shape at another spacing.

    Source: 2018 §2.2
    """
    z, y, x = (size * a / b for size, a, b in zip(median_vox, from_mm, to_mm, strict=True))
    return (z, y, x)


def rounded_shape(shape_vox: tuple[float, float, float]) -> Shape3:
    """Round a typical shape half to even; no axis falls below 1 voxel.

    Source: release
    """
    z, y, x = (max(1, round(size)) for size in shape_vox)
    return (z, y, x)
