"""Resampling images and probabilities between aligned grids: three small matrix products instead of one 3D spline.

On aligned grids a tensor-product spline is separable, so interpolating axis after axis gives the numbers of
``skimage.transform.resize(order=…, mode="edge", clip=True, anti_aliasing=False)`` up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Shape3
from nnbox.imaging.axis import AxisMatrix, cubic_matrix, linear_matrix, nearest_index
from nnbox.imaging.labels import resample_labels

__all__ = ["resample_image", "resample_labels", "resample_probabilities"]


def resample_image(
    image: NDArray[np.float32], new_shape_vox: Sequence[int], *, separate_axis: int | None
) -> NDArray[np.float32]:
    """Resample with a third-order spline, clipped to the input's range.

    With a separate axis each slice across it is resampled (and clipped) on its own in plane, and slices are then taken
    from the nearest one. An axis whose size stays costs nothing.

    Source: 2018 §2.2, 2019 §2.1 (separate coarse axis).

    Args:
        image: (channel, z, y, x) float32.
        new_shape_vox: (z, y, x) to reach.
        separate_axis: spatial axis 0, 1 or 2 that is interpolated by nearest neighbour, or None.

    Returns:
        A new (channel, *new_shape_vox) float32 array.
    """
    new = _shape(new_shape_vox)
    result = np.empty((image.shape[0], *new), dtype=np.float32)
    for index, channel in enumerate(image):
        result[index] = _cubic_channel(np.ascontiguousarray(channel, dtype=np.float32), new, separate_axis)
    return result


def resample_probabilities(
    probabilities: NDArray[np.float32], new_shape_vox: Sequence[int], *, separate_axis: int | None
) -> NDArray[np.float32]:
    """Resample class probabilities linearly (nearest neighbour along a separate axis).

    Weights are non-negative and sum to one, so every voxel's probabilities still do.

    Source: 2019 §2.3 (as the images, with the separate axis); linear is own.

    Args:
        probabilities: (class, z, y, x) float32.
        new_shape_vox: (z, y, x) to reach.
        separate_axis: spatial axis interpolated by nearest neighbour, or None.

    Returns:
        A new (class, *new_shape_vox) float32 array.
    """
    new = _shape(new_shape_vox)
    result = np.empty((probabilities.shape[0], *new), dtype=np.float32)
    axes = tuple(axis for axis in range(3) if axis != separate_axis)

    def linear(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        return _interpolate(slices, new, axes, linear_matrix)

    for index, channel in enumerate(probabilities):
        volume = np.ascontiguousarray(channel, dtype=np.float32)
        result[index] = _with_separate_axis(volume, new, separate_axis, linear)
    return result


def _cubic_channel(volume: NDArray[np.float32], new: Shape3, separate_axis: int | None) -> NDArray[np.float32]:
    axes = tuple(axis for axis in range(3) if axis != separate_axis)

    def cubic(slices: NDArray[np.float32]) -> NDArray[np.float32]:
        if all(slices.shape[axis] == new[axis] for axis in axes):
            return slices
        lower = slices.min(axis=axes, keepdims=True)
        upper = slices.max(axis=axes, keepdims=True)
        # Far from zero float32 has few digits left for the structure; the weights sum to one, so shifting is allowed.
        middle = np.float32((lower.min() + upper.max()) / 2)
        shift = abs(middle) > upper.max() - lower.min()
        resampled = _interpolate(slices - middle if shift else slices, new, axes, cubic_matrix)
        if shift:
            resampled += middle
        return np.clip(resampled, lower, upper, out=resampled)

    return _with_separate_axis(volume, new, separate_axis, cubic)


def _with_separate_axis(
    volume: NDArray[np.float32],
    new: Shape3,
    separate_axis: int | None,
    in_plane: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Do ``in_plane`` on the fewest slices: choose slices first where they become fewer, else last."""
    if separate_axis is None or volume.shape[separate_axis] == new[separate_axis]:
        return in_plane(volume)
    index = nearest_index(volume.shape[separate_axis], new[separate_axis])
    if new[separate_axis] < volume.shape[separate_axis]:
        return in_plane(np.take(volume, index, axis=separate_axis))
    return np.take(in_plane(volume), index, axis=separate_axis)


def _interpolate(
    volume: NDArray[np.float32], new: Shape3, axes: tuple[int, ...], matrix: Callable[[int, int], AxisMatrix]
) -> NDArray[np.float32]:
    """Interpolate along the given axes, the one that shrinks most first, so that later ones have less to do."""
    for axis in sorted(axes, key=lambda axis: new[axis] / volume.shape[axis]):
        if volume.shape[axis] != new[axis]:
            volume = matrix(volume.shape[axis], new[axis]).apply(volume, axis)
    return volume


def _shape(new_shape_vox: Sequence[int]) -> Shape3:
    z, y, x = (int(size) for size in new_shape_vox)
    return (z, y, x)
