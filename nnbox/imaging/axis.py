"""Interpolation along one axis as a matrix: what resampling on aligned grids is made of.

Sample positions follow ``skimage.transform.resize``: voxel centres lie at half-integers of the extent, so output voxel
i of ``new`` reads the source at ``(i + 1/2) * old / new - 1/2``. Outside the source the edge value goes on.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The edge is repeated this often before the spline is fitted, and the fit is then mirrored at half-samples: the
# convention of scipy.ndimage for mode "nearest", hence of skimage for mode "edge".
_EDGE_VOX = 12
# A weight below this cannot move a float32 result; the spline's weights fall by 3.7 per voxel, so 15 a side remain.
_NEGLIGIBLE = 1e-8
_BLOCK_ROWS = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Rows ``first:last`` of the output as ``weights`` (rows, columns) times ``start:stop`` of the input."""

    first: int
    last: int
    start: int
    stop: int
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AxisMatrix:
    """A banded interpolation matrix for one axis, cut into small dense blocks of rows.

    Attributes:
        old, new: sizes of the axis before and after.
        blocks: consecutive row blocks that together give all ``new`` rows.
    """

    old: int
    new: int
    blocks: tuple[_Block, ...]

    def apply(self, volume: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Multiply along ``axis`` of a contiguous (z, y, x) float32 array; returns a new contiguous one."""
        shape = list(volume.shape)
        shape[axis] = self.new
        result = np.empty(shape, dtype=np.float32)
        for block in self.blocks:
            if axis == 0:
                source = volume[block.start : block.stop].reshape(block.stop - block.start, -1)
                target = result[block.first : block.last].reshape(block.last - block.first, -1)
                np.matmul(block.weights, source, out=target)
            elif axis == 1:
                source = volume[:, block.start : block.stop]
                np.matmul(block.weights, source, out=result[:, block.first : block.last])
            else:
                source = volume[:, :, block.start : block.stop]
                np.matmul(source, block.weights.T, out=result[:, :, block.first : block.last])
        return result


def nearest_index(old: int, new: int) -> NDArray[np.intp]:
    """Return for each output voxel the source voxel it lies in; a position between two belongs to the later one."""
    return (2 * np.arange(new, dtype=np.intp) + 1) * old // (2 * new)


def linear_index(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return for each output voxel its lower source neighbour, and the weight of the upper one in units of 1/(2·new).

    Whole-number weights make ties exact. At the edges the weight is 0 or all of 2·new.
    """
    position = np.clip((2 * np.arange(new, dtype=np.int64) + 1) * old - new, 0, (old - 1) * 2 * new)
    lower = np.minimum(position // (2 * new), max(old - 2, 0))
    return lower.astype(np.intp), position - lower * 2 * new


@functools.lru_cache(maxsize=64)
def linear_matrix(old: int, new: int) -> AxisMatrix:
    """Return first-order interpolation from ``old`` to ``new`` samples."""
    lower, upper_weight = linear_index(old, new)
    rows = np.arange(new)
    dense = np.zeros((new, old))
    dense[rows, lower] = 1.0 - upper_weight / (2 * new)
    if old > 1:
        dense[rows, lower + 1] += upper_weight / (2 * new)
    return _in_blocks(dense, rows_per_block=16)


@functools.lru_cache(maxsize=64)
def cubic_matrix(old: int, new: int) -> AxisMatrix:
    """Return third-order B-spline interpolation from ``old`` to ``new`` samples (prefilter and evaluation in one).

    Source: 2018 §2.2 (third-order spline); conventions of the release.
    """
    padded = old + 2 * _EDGE_VOX
    coefficients = _spline_coefficients(old, padded)
    position = (np.arange(new) + 0.5) * (old / new) - 0.5 + _EDGE_VOX
    lower = np.floor(position).astype(np.intp)
    t = position - lower
    taps = (
        (1 - t) ** 3 / 6,
        (4 - 6 * t**2 + 3 * t**3) / 6,
        (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6,
        t**3 / 6,
    )
    dense = np.zeros((new, old))
    for offset, weight in enumerate(taps, start=-1):
        dense += weight[:, None] * coefficients[lower + offset]
    return _in_blocks(dense, rows_per_block=_BLOCK_ROWS)


def _spline_coefficients(old: int, padded: int) -> NDArray[np.float64]:
    """Return the (padded, old) matrix from samples to B-spline coefficients of the edge-padded line."""
    from scipy.linalg import solve_banded  # noqa: PLC0415 - slow to import, and often nothing is resampled

    samples = np.zeros((padded, old))
    samples[np.arange(padded), np.clip(np.arange(padded) - _EDGE_VOX, 0, old - 1)] = 1.0
    bands = np.full((3, padded), 1 / 6)
    bands[1] = 4 / 6
    bands[1, 0] += 1 / 6
    bands[1, -1] += 1 / 6
    solved: NDArray[np.float64] = solve_banded((1, 1), bands, samples)
    return solved


def _in_blocks(dense: NDArray[np.float64], *, rows_per_block: int) -> AxisMatrix:
    new, old = dense.shape
    blocks = []
    for first in range(0, new, rows_per_block):
        rows = dense[first : first + rows_per_block]
        used = np.flatnonzero((np.abs(rows) > _NEGLIGIBLE).any(axis=0))
        start, stop = int(used[0]), int(used[-1]) + 1
        weights = np.ascontiguousarray(rows[:, start:stop], dtype=np.float32)
        weights.setflags(write=False)
        blocks.append(_Block(first, first + rows.shape[0], start, stop, weights))
    return AxisMatrix(old, new, tuple(blocks))
