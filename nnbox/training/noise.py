"""White noise as a function of a seed and a place, so that a device can make the same.

A generator with a state must run where its state is, and its numbers must be carried to the device; a hash of seed and
index can be computed wherever the numbers are wanted. Source: own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STEP = 0x9E3779B1
MIXERS = (0x7FEB352D, 0x846CA68B)  # of a 32-bit finaliser with little bias (C. Wellons' "lowbias32")
UNIT = 2.0**-31
_PIECE = 1 << 16  # stays in the cache between its passes


def white_noise(seed: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return float32 noise, uniform in [-1, 1], of fewer than 2^32 elements.

    Args:
        seed: below 2^63.
        shape: any.
    """
    found = np.empty(int(np.prod(shape)), dtype=np.float32)
    for first in range(0, len(found), _PIECE):
        piece = found[first : first + _PIECE]
        words = np.arange(first, first + len(piece), dtype=np.uint32) * np.uint32(STEP) + np.uint32(seed & 0xFFFFFFFF)
        words = _mixed(_mixed(words) + np.uint32(seed >> 32))
        piece[...] = words.view(np.int32)
        piece *= np.float32(UNIT)
    return found.reshape(tuple(shape))


def _mixed(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    words = (words ^ (words >> np.uint32(16))) * np.uint32(MIXERS[0])
    words = (words ^ (words >> np.uint32(15))) * np.uint32(MIXERS[1])
    return words ^ (words >> np.uint32(16))
