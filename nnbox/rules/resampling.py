"""How a case gets from its own spacing to the target: new sizes, and whether the coarse axis goes apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnbox.geometry import Shape3, Spacing3

TargetSpacing = tuple[float | None, float, float]


def separate_axis(spacing_mm: Spacing3, target: TargetSpacing, threshold: float | None) -> int | None:
    """Return the axis that is resampled apart from the plane (nearest neighbour), or None.

    That is the coarsest axis of the case if its max/min spacing exceeds the threshold, else the coarsest axis of the
    target if the target's does. Where two axes are equally coarse there is no plane to speak of, and none goes apart.
    For a 2D configuration (no target on the first axis) it is always axis 0, whose size does not change.

    Args:
        spacing_mm: of the case, working order.
        target: target spacing, working order; the first is None for a 2D configuration.
        threshold: 3.0 in 2019; None: never (2018).

    Source: 2019 §2.1, release (two equally coarse axes)
    """
    first, second, third = target
    if first is None:
        return 0
    if threshold is None:
        return None
    for spacing in (spacing_mm, (first, second, third)):
        if max(spacing) / min(spacing) > threshold:
            coarse = [axis for axis in range(3) if math.isclose(spacing[axis], max(spacing), rel_tol=1e-6)]
            return coarse[0] if len(coarse) == 1 else None
    return None


def new_shape(shape_vox: Sequence[int], spacing_mm: Spacing3, target: TargetSpacing) -> Shape3:
    """Return round(shape · old spacing / new spacing), half to even, at least 1 voxel; kept where there is no target.

    Source: 2018 §2.2, release (rounding)
    """
    z, y, x = (
        size if wanted is None else max(1, round(size * spacing / wanted))
        for size, spacing, wanted in zip(shape_vox, spacing_mm, target, strict=True)
    )
    return (z, y, x)
