"""Counting the foreground intensities of one case: by distinct value, or by half of their bits. Source: own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.imaging.moments import mean_and_squares

HALF = 1 << 16
"""The values that half of a float32's bits can take."""
# Whole-number intensities within this range are counted instead of sorted.
_COUNTABLE_RANGE = 1 << 20
# Other values of a case are sorted up to this many.
_SORTED_VOXELS = 1 << 18
_BLOCK_VOXELS = 1 << 15
# From here to twice as much a float32 counts units in the last of its bits: the bits are the number.
_UNITS = 1 << 23
Bins = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChannelCounts:
    """The foreground intensities of one case in one channel.

    Attributes:
        voxels: how many.
        mean: theirs; 0 if there are none.
        squares: summed squared distance from the mean.
        lowest, highest: theirs; 0 if there are none.
        values: the distinct ones, ascending, float32; None where they were too many to tell.
        counts: int64; how often each of ``values`` occurs, or voxels per bin.
    """

    voxels: int
    mean: float
    squares: float
    lowest: float
    highest: float
    values: NDArray[np.float32] | None
    counts: NDArray[np.int64]


CaseCounts = tuple[ChannelCounts, ...]
FineCounts = tuple[NDArray[np.int64], ...]
"""Per channel (bin, 65,536): voxels in each bin that was asked for, by the second half of their bits, ordered."""


def count_channel(voxels: NDArray[np.float32]) -> ChannelCounts:
    """Count the intensities of one case's foreground voxels, in any order."""
    if voxels.size == 0:
        return _exact(voxels, np.empty(0, dtype=np.int64))
    lowest, highest = float(voxels.min()), float(voxels.max())
    if highest - lowest < _COUNTABLE_RANGE and abs(lowest) < _UNITS and lowest == int(lowest):
        whole = _count_whole(voxels, int(lowest), int(highest))
        if whole is not None:
            present = np.flatnonzero(whole)
            return _exact((present + int(lowest)).astype(np.float32), whole[present])
    if voxels.size <= _SORTED_VOXELS:
        values, counts = np.unique(voxels + np.float32(0), return_counts=True)  # -0 becomes 0
        return _exact(values, counts.astype(np.int64))
    mean, squares = mean_and_squares(voxels)
    return ChannelCounts(
        voxels=voxels.size,
        mean=mean,
        squares=squares,
        lowest=lowest,
        highest=highest,
        values=None,
        counts=_count_bins(voxels),
    )


def count_fine(voxels: NDArray[np.float32], bins: Bins) -> NDArray[np.int64]:
    """Count the foreground voxels in the given bins by the second half of their bits: int64 (bin, 65,536)."""
    first, second = _halves(voxels)
    result = np.zeros((len(bins), HALF), dtype=np.int64)
    for row, index in zip(result, bins, strict=True):
        stored = index - HALF // 2 if index >= HALF // 2 else HALF - 1 - index
        found = np.bincount(second[first == stored], minlength=HALF)
        row[:] = found if index >= HALF // 2 else found[::-1]
    return result


def _count_whole(voxels: NDArray[np.float32], lowest: int, highest: int) -> NDArray[np.int64] | None:
    """Count each whole number from lowest to highest; None if there are other numbers."""
    bins = highest - lowest + 1
    counts = np.zeros(bins, dtype=np.int64)
    shift = np.float32(_UNITS - lowest)  # exact, as is each sum with a whole number
    block = max(_BLOCK_VOXELS, 4 * bins)  # stays in the processor's cache, and is worth adding up the counts
    for first in range(0, voxels.size, block):
        part = voxels[first : first + block]
        shifted = part + shift
        if not (shifted - shift == part).all():
            return None
        places = shifted.view(np.uint32) & np.uint32(_UNITS - 1)
        counts += np.bincount(places.astype(np.intp), minlength=bins)
    return counts


def _exact(values: NDArray[np.float32], counts: NDArray[np.int64]) -> ChannelCounts:
    wide, voxels = values.astype(np.float64), int(counts.sum())
    # Sums, no dot products: the last bits of those depend on the number of threads.
    mean = float(np.sum(wide * counts)) / max(voxels, 1)
    return ChannelCounts(
        voxels=voxels,
        mean=mean,
        squares=float(np.sum(np.square(wide - mean) * counts)),
        lowest=float(values[0]) if voxels else 0.0,
        highest=float(values[-1]) if voxels else 0.0,
        values=values,
        counts=counts,
    )


def _halves(voxels: NDArray[np.float32]) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Return the first (sign, exponent, 7 bits) and the second half of each number's bits, without a copy."""
    halves = np.ascontiguousarray(voxels).astype("<f4", copy=False).view("<u2").reshape(-1, 2)
    return halves[:, 1], halves[:, 0]


def _count_bins(voxels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Count numbers by the first half of their bits, in ascending order of the numbers."""
    return _in_order(np.bincount(_halves(voxels)[0], minlength=HALF))


def bins_of_values(values: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn counts of distinct values into counts of the first halves of their bits, in ascending order."""
    found = np.zeros(HALF, dtype=np.int64)
    np.add.at(found, _halves(values)[0], counts)
    return _in_order(found)


def _in_order(stored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bring counts by stored bits into the numbers' order: negative ones, which are stored upside down, come first."""
    return np.concatenate((stored[: HALF // 2 - 1 : -1], stored[: HALF // 2]))


def value_of(place: int, second: int) -> float:
    """Return the number with the given halves of its bits, both in ascending order of numbers; -0 is 0."""
    ordered = place * HALF + second
    stored = ordered - (1 << 31) if ordered >= 1 << 31 else (1 << 32) - 1 - ordered
    return float(np.array([stored], dtype=np.uint32).view(np.float32)[0]) + 0.0
