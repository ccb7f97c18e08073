"""Cropping to the non-zero region. Source: 2018 §2.2 (cropping), release (filled mask)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Box
from nnbox.imaging.components import connected_with_first


def nonzero_box(image: NDArray[np.floating]) -> tuple[Box, NDArray[np.bool_]]:
    """Find the bounding box of what is non-zero in any channel, and the mask inside it with its holes filled.

    A hole is a zero region from which no path of face neighbours leads to the border (in the plane, where z == 1).
    An image without any non-zero voxel is kept whole, and counts as inside.

    Source: release.

    Args:
        image: (channel, z, y, x), any real type.

    Returns:
        The box, and the filled mask cut to it: bool, of the box's shape.
    """
    mask = image[0] != 0
    for channel in image[1:]:
        mask |= channel != 0
    box = bounding_box(mask)
    if box is None:
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        return Box(start=(0, 0, 0), stop=shape), np.ones(shape, dtype=np.bool_)
    return box, _fill_holes(mask[box.slices])


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box that holds every True of a (z, y, x) mask, or None where there is none."""
    plane = np.any(mask, axis=0)
    spans = (np.any(mask, axis=(1, 2)), np.any(plane, axis=1), np.any(plane, axis=0))
    if not spans[0].any():
        return None
    (z0, z1), (y0, y1), (x0, x1) = (_span(line) for line in spans)
    return Box(start=(z0, y0, x0), stop=(z1, y1, x1))


def _span(line: NDArray[np.bool_]) -> tuple[int, int]:
    where = np.flatnonzero(line)
    return int(where[0]), int(where[-1]) + 1


def _fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what cannot be reached from outside: one labelling of the zeros, instead of repeated dilation."""
    if mask.all():
        return np.ones(mask.shape, dtype=np.bool_)
    # The padding makes one region of everything that touches the border; it holds the first voxel. A flat volume gets
    # none above and below, where every hole of it would be open.
    margin = 0 if mask.shape[0] == 1 else 1
    outside = connected_with_first(np.pad(~mask, ((margin, margin), (1, 1), (1, 1)), constant_values=True))
    return np.ascontiguousarray(~outside[margin : margin + mask.shape[0], 1:-1, 1:-1])
