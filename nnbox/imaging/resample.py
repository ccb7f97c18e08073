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

_Interpolate = Callable[[NDArray[np.float32], Shape3], NDArray[np.float32]]


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
    return _by_channel(image, _shape(new_shape_vox), separate_axis, _cubic)


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
    return _by_channel(probabilities, _shape(new_shape_vox), separate_axis, _linear)


def _by_channel(
    channels: NDArray[np.float32], new: Shape3, separate_axis: int | None, interpolate: _Interpolate
) -> NDArray[np.float32]:
    result = np.empty((channels.shape[0], *new), dtype=np.float32)
    for channel, target in zip(channels, result, strict=True):
        volume = np.asarray(channel, dtype=np.float32)
        if separate_axis is None:
            target[...] = interpolate(np.ascontiguousarray(volume), new)
        else:
            _slice_by_slice(volume, separate_axis, target, interpolate)
    return result


def _slice_by_slice(
    volume: NDArray[np.float32], separate_axis: int, target: NDArray[np.float32], interpolate: _Interpolate
) -> None:
    """Interpolate in plane each slice that is the nearest of some, while it is in the processor's cache."""
    old, new = volume.shape[separate_axis], target.shape[separate_axis]
    wanted = [1 if axis == separate_axis else size for axis, size in enumerate(target.shape)]
    last, found = None, None
    for number, source in enumerate(nearest_index(old, new).tolist()):
        if source != last:
            plane = volume.take([source], axis=separate_axis)
            last, found = source, interpolate(plane, _shape(wanted)).squeeze(separate_axis)
        target[(slice(None),) * separate_axis + (number,)] = found


def _cubic(volume: NDArray[np.float32], new: Shape3) -> NDArray[np.float32]:
    if volume.shape == new:
        return volume
    lower, upper = volume.min(), volume.max()
    # Far from zero float32 has few digits left for the structure; the weights sum to one, so shifting is allowed.
    middle = np.float32((lower + upper) / 2)
    shift = abs(middle) > upper - lower
    resampled = _interpolate(volume - middle if shift else volume, new, cubic_matrix)
    if shift:
        resampled += middle
    return np.clip(resampled, lower, upper, out=resampled)


def _linear(volume: NDArray[np.float32], new: Shape3) -> NDArray[np.float32]:
    return _interpolate(volume, new, linear_matrix)


def _interpolate(
    volume: NDArray[np.float32], new: Shape3, matrix: Callable[[int, int], AxisMatrix]
) -> NDArray[np.float32]:
    """Interpolate along every axis, the one that shrinks most first, so that later ones have less to do."""
    for axis in sorted(range(3), key=lambda axis: new[axis] / volume.shape[axis]):
        if volume.shape[axis] != new[axis]:
            volume = matrix(volume.shape[axis], new[axis]).apply(volume, axis)
    return volume


def _shape(new_shape_vox: Sequence[int]) -> Shape3:
    z, y, x = (int(size) for size in new_shape_vox)
    return (z, y, x)
