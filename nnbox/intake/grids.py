"""Do two files lie on the same grid, and which way does an image lie?"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Grid

GRID_TOLERANCE_VOX = 1e-3
"""Headers count as equal while no corner of the image moves further than this. Source: own."""
_ENDS = ("RL", "AP", "IS")  # ITK's world axes x, y, z run towards left, posterior, superior


def corner_displacement_vox(grid: Grid, other: Grid) -> float:
    """Return how far the farthest corner of a grid moves, in its voxels, if the other header is believed.

    Both grids have the same size and dimension.
    """
    corners = np.array(list(itertools.product(*((0, size - 1) for size in _size_xyz(grid)))), dtype=np.float64)
    matrix, origin = _affine(grid)
    other_matrix, other_origin = _affine(other)
    world = corners @ other_matrix.T + other_origin
    return float(np.linalg.norm((world - origin) @ np.linalg.inv(matrix).T - corners, axis=1).max())


def orientation(grid: Grid) -> str:
    """Return towards which anatomical end each array axis (z, y, x) runs, e.g. ``"SPL"``; 2D: two letters."""
    matrix, _ = _affine(grid)
    unit = matrix / np.linalg.norm(matrix, axis=0)
    letters = []
    for axis in range(grid.dimension):
        world = int(np.argmax(np.abs(unit[:, axis])))
        letters.append(_ENDS[world][int(unit[world, axis] > 0)])
    return "".join(reversed(letters))


def describe(grid: Grid) -> str:
    """Return a grid's placement in words."""
    spacing = ", ".join(f"{value:.6g}" for value in grid.spacing_mm)
    origin = ", ".join(f"{value + 0.0:.6g}" for value in grid.origin_xyz_mm)
    return f"spacing ({spacing}) mm (z, y, x), origin ({origin}) mm, orientation {orientation(grid)}"


def _size_xyz(grid: Grid) -> tuple[int, ...]:
    return grid.shape_vox[::-1][: grid.dimension]


def _affine(grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    direction = np.array(grid.direction_xyz, dtype=np.float64).reshape(grid.dimension, grid.dimension)
    spacing = np.array(grid.spacing_mm[::-1][: grid.dimension], dtype=np.float64)
    return direction * spacing, np.array(grid.origin_xyz_mm, dtype=np.float64)
