"""Where tiles lie and how much each of their voxels counts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGMAS_PER_PATCH = 8.0


def tile_starts(size_vox: int, patch_vox: int) -> tuple[int, ...]:
    """Return where tiles start along one axis: at most half a patch apart, evenly spaced, both ends covered.

    Every voxel lies in at least one tile, every tile inside the axis. A patch of one voxel (the slices of a 2D
    network) gives each position once.

    Source: 2019 §2.3 (half overlap); release (even spacing)

    Args:
        size_vox: length of the axis in voxels, >= ``patch_vox`` (the image is padded up to one patch before).
        patch_vox: length of a tile in voxels, >= 1.

    Raises:
        ValueError: the axis is shorter than the patch.
    """
    if size_vox < patch_vox:
        raise ValueError(f"an axis of {size_vox} voxels must be padded to the patch of {patch_vox} first")
    free = size_vox - patch_vox
    if free == 0:
        return (0,)
    step = max(patch_vox / 2, 1.0)
    count = math.ceil(free / step) + 1
    return tuple(math.floor(index * free / (count - 1) + 0.5) for index in range(count))


def tile_corners(shape_vox: Sequence[int], patch_size: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Return the first voxel of every tile of a volume, the last axis running fastest.

    Args:
        shape_vox: shape of the (padded) volume.
        patch_size: shape of a tile, as many axes.
    """
    per_axis = (tile_starts(size, patch) for size, patch in zip(shape_vox, patch_size, strict=True))
    return tuple(itertools.product(*per_axis))


def axis_weights(patch_vox: int) -> NDArray[np.float32]:
    """Return the Gaussian weights along one axis of a tile: float32 (patch_vox,), 1 at the most, all positive.

    The bell is centred on the tile, so that a mirrored tile has mirrored weights; its sigma is an eighth of the patch.

    Source: 2019 §2.3; release (sigma); own (centre between the two middle voxels of an even patch)
    """
    distance = np.arange(patch_vox, dtype=np.float64) - (patch_vox - 1) / 2
    weights = np.exp(-0.5 * (distance * _SIGMAS_PER_PATCH / patch_vox) ** 2)
    return _raise_zeros((weights / weights.max()).astype(np.float32))


def gaussian_weights(patch_size: Sequence[int]) -> NDArray[np.float32]:
    """Return how much each voxel of a tile counts: float32 of shape ``patch_size``, all positive.

    The weights are the outer product of `axis_weights`; zeros, should rounding make any, are raised to the smallest
    positive weight so that a voxel seen only by the corner of a tile still gets its value.

    Source: 2019 §2.3; release (zeros raised)
    """
    weights = np.ones((), dtype=np.float32)
    for patch_vox in patch_size:
        weights = np.multiply.outer(weights, axis_weights(patch_vox))
    return _raise_zeros(weights)


def summed_axis_weights(size_vox: int, patch_vox: int) -> NDArray[np.float32]:
    """Return the weights of all tiles along one axis, added up: float32 (size_vox,).

    Tiles lie on a full grid and weights are outer products, so the sum over all tiles of a volume is the outer product
    of these sums. Source: own.
    """
    weights = axis_weights(patch_vox).astype(np.float64)
    total = np.zeros(size_vox, dtype=np.float64)
    for start in tile_starts(size_vox, patch_vox):
        total[start : start + patch_vox] += weights
    return total.astype(np.float32)


def _raise_zeros(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    positive = weights > 0
    return weights if positive.all() else np.where(positive, weights, weights[positive].min())
