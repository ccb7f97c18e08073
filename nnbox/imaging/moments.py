"""Mean and summed squares of float32 intensities in float64, without a float64 copy of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# As float64 they stay in a processor's cache, and a dot product of them is not shared out to threads, which wait longer
# for each other than they compute.
_PART_VOXELS = 1 << 13


def mean_and_squares(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean of any array, and the sum of its elements' squared distances from it; (0, 0) if it is empty.

    One small array is used for part after part: asking the system for memory would take longer than the sums.
    """
    if values.size == 0:
        return 0.0, 0.0
    mean, squares = float(values.mean(dtype=np.float64)), 0.0
    flat, wide = values.reshape(-1), np.empty(min(_PART_VOXELS, values.size))
    for first in range(0, flat.size, _PART_VOXELS):
        part = flat[first : first + _PART_VOXELS]
        apart = wide[: part.size]
        apart[...] = part
        apart -= mean
        squares += float(np.dot(apart, apart))
    return mean, squares
