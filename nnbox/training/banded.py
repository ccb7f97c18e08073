"""Prefilters as matrices: on a device a product along an axis is quicker than a recursion, and the same everywhere.

Each function returns a float32 matrix for an axis of n voxels; the products of the axes' matrices with a volume are
what scipy computes with its filters. Matrices are made in float64, once per size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

MARGIN = 2  # coefficients beyond either end, so that every tap of a third-order spline inside the volume has a value
NOTHING = 1e-12  # smaller coefficients are 0: in float32 they would become numbers that processors are slow with
_KEPT = 512  # sizes that are remembered
_SIGMAS_KEPT = 64  # each is asked for by the window and by every axis of one patch, then never again
GAUSSIAN_REACH = 4.0  # in standard deviations, as scipy's gaussian_filter truncates


@lru_cache(maxsize=_KEPT)
def spline_matrix(size: int) -> NDArray[np.float32]:
    """Return (size + 2 margins, size): from voxels to cubic B-spline coefficients, mirrored about the end voxels.

    The mirrored coefficients stand in the margins. As ``scipy.ndimage.spline_filter1d(mode="mirror")``.
    """
    if size == 1:
        return np.ones((1 + 2 * MARGIN, 1), dtype=np.float32)
    # Coefficients c with c[i-1] + 4 c[i] + c[i+1] = 6 x[i], mirrored: 2 c[1] + 4 c[0] = 6 x[0]; halved, symmetric.
    bands = np.zeros((2, size))
    bands[0, 1:], bands[1] = 1.0, 4.0
    bands[1, 0] = bands[1, -1] = 2.0
    right = 6.0 * np.eye(size)
    right[0, 0] = right[-1, -1] = 3.0
    coefficients = solveh_banded(bands, right)
    coefficients[np.abs(coefficients) < NOTHING] = 0.0
    places = np.abs(np.arange(-MARGIN, size + MARGIN))
    period = 2 * (size - 1)
    places %= period
    mirrored = np.where(places >= size, period - places, places)
    found: NDArray[np.float32] = coefficients[mirrored].astype(np.float32)
    return found


def resampling_matrix(size: int, places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (places, size): from voxels to the cubic spline at places along the axis, 0 outside [0, size - 1]."""
    within = np.minimum(np.maximum(places, 0), size - 1)
    low = within.astype(int)
    part = within - low
    first, last = (1 - part) ** 3 / 6, part**3 / 6
    second = 2 / 3 - part**2 + 3 * last
    weights = np.stack((first, second, 1 - first - second - last, last)) * (within == places)
    taps = low + (MARGIN - 1) + np.arange(len(weights))[:, None]
    terms = spline_matrix(size).astype(np.float64).take(taps, axis=0)
    terms *= weights[..., None]
    found: NDArray[np.float64] = terms.sum(axis=0)
    found[np.abs(found) < NOTHING] = 0.0
    return found.astype(np.float32)


def gaussian_matrix(size: int, sigma: float) -> NDArray[np.float32]:
    """Return (size, size): a Gaussian of ``sigma`` voxels, 0 beyond the ends, as scipy's ``mode="constant"``."""
    weights = _half_gaussian(sigma)[:size]
    line = np.zeros(size, dtype=np.float32)
    line[: len(weights)] = weights
    return line[_apart(size)]


def gaussian_gain(sigma: float) -> float:
    """Return by how much the filter scales the standard deviation of white noise, along one axis."""
    weights = _half_gaussian(sigma)
    return float(np.sqrt(2 * (weights**2).sum() - weights[0] ** 2))


@lru_cache(maxsize=_KEPT)
def _apart(size: int) -> NDArray[np.int_]:
    """Return (size, size): how far apart two voxels of an axis are."""
    found: NDArray[np.int_] = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return found


@lru_cache(maxsize=_SIGMAS_KEPT)
def _half_gaussian(sigma: float) -> NDArray[np.float64]:
    reach = int(GAUSSIAN_REACH * sigma + 0.5)
    weights: NDArray[np.float64] = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights /= 2 * weights.sum() - weights[0]
    return weights
