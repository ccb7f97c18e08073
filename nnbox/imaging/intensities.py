"""Foreground intensities of any number of cases in bounded memory: the same order statistics as of all in one array.

As long as a channel's distinct values are few, as whole numbers' are, they are counted. When they become too many, only
the first half of their bits is counted, in ordered form: 65,536 bins. The wanted order statistics then lie in at most
four bins, and a second pass over the cases counts the other half of the bits in these. Source: own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.records.fingerprint import Intensity

# Whole-number intensities within this range are counted instead of sorted.
_COUNTABLE_RANGE = 1 << 20
# Other values of a case are sorted up to this many.
_SORTED_VOXELS = 1 << 18
_HALF = 1 << 16
_BLOCK_VOXELS = 1 << 15
_INTEGERS = 2**31 - 2**10  # what a float32 can hold of a 32-bit integer's range
_QUANTILES = (0.005, 0.995)
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
    if highest - lowest < _COUNTABLE_RANGE and max(-lowest, highest) < _INTEGERS and lowest == int(lowest):
        whole = _count_whole(voxels, int(lowest), int(highest))
        if whole is not None:
            present = np.flatnonzero(whole)
            return _exact((present + int(lowest)).astype(np.float32), whole[present])
    if voxels.size <= _SORTED_VOXELS:
        values, counts = np.unique(voxels + np.float32(0), return_counts=True)  # -0 becomes 0
        return _exact(values, counts.astype(np.int64))
    wide = voxels.astype(np.float64)
    mean = float(wide.mean())
    wide -= mean
    return ChannelCounts(
        voxels=voxels.size,
        mean=mean,
        squares=float(np.dot(wide, wide)),
        lowest=lowest,
        highest=highest,
        values=None,
        counts=_count_bins(voxels),
    )


def count_fine(voxels: NDArray[np.float32], bins: Bins) -> NDArray[np.int64]:
    """Count the foreground voxels in the given bins by the second half of their bits: int64 (bin, 65,536)."""
    first, second = _halves(voxels)
    result = np.zeros((len(bins), _HALF), dtype=np.int64)
    for row, index in zip(result, bins, strict=True):
        stored = index - _HALF // 2 if index >= _HALF // 2 else _HALF - 1 - index
        found = np.bincount(second[first == stored], minlength=_HALF)
        row[:] = found if index >= _HALF // 2 else found[::-1]
    return result


def combine_intensities(
    cases: Iterable[CaseCounts], again: Callable[[Sequence[Bins]], Iterable[FineCounts]]
) -> tuple[Intensity, ...]:
    """Return each channel's statistics over all cases, exactly as if all voxels lay in one array.

    Percentiles are those of ``numpy.percentile`` (linear).

    Source: 2018 §2.2 (the release takes every tenth voxel; here every one).

    Args:
        cases: taken one by one; none is kept.
        again: called when distinct values were too many: goes over the same cases again and yields what `count_fine`
            says of each channel's bins (none for a channel that needs none).

    Raises:
        DataError: no case has a foreground voxel, or the second pass saw other voxels than the first.
    """
    tally = IntensityTally()
    for case in cases:
        tally.add(case)
    wanted = tally.unresolved()
    if any(wanted):
        for fine in again(wanted):
            tally.add_fine(fine)
    return tally.intensities()


class IntensityTally:
    """What is known of all channels so far; see the module."""

    def __init__(self) -> None:
        self._channels: list[_Channel] = []

    @property
    def is_empty(self) -> bool:
        """Whether no voxel was added."""
        return all(channel.voxels == 0 for channel in self._channels)

    def add(self, case: CaseCounts) -> None:
        """Add a case of the first pass; one whose number of channels is not the first one's is left out."""
        if not self._channels:
            self._channels = [_Channel() for _ in case]
        if len(case) == len(self._channels):
            for channel, counts in zip(self._channels, case, strict=True):
                channel.add(counts)

    def unresolved(self) -> tuple[Bins, ...]:
        """Return per channel the bins that a second pass has to look into; call it when every case was added."""
        return tuple(channel.wanted() for channel in self._channels)

    def add_fine(self, fine: FineCounts) -> None:
        """Add a case of the second pass."""
        for channel, counts in zip(self._channels, fine, strict=True):
            channel.add_fine(counts)

    def intensities(self) -> tuple[Intensity, ...]:
        """Return the statistics; see `combine_intensities` for errors."""
        if self.is_empty:
            raise DataError("no training case has a foreground voxel, so there are no intensities to measure")
        return tuple(channel.intensity() for channel in self._channels)


class _Channel:
    """One channel's counts: of distinct values while these are few, of bins from then on."""

    _MOST_VALUES = 1 << 22
    _PENDING_VALUES = 1 << 20

    def __init__(self) -> None:
        self.voxels = 0
        self._mean = self._squares = 0.0
        self._lowest, self._highest = math.inf, -math.inf
        self._values: NDArray[np.float32] | None = np.empty(0, dtype=np.float32)
        self._counts = np.empty(0, dtype=np.int64)
        self._pending: list[ChannelCounts] = []
        self._bins: Bins = ()
        self._fine = np.empty((0, _HALF), dtype=np.int64)

    def add(self, case: ChannelCounts) -> None:
        if case.voxels == 0:
            return
        before, self.voxels = self.voxels, self.voxels + case.voxels
        apart = case.mean - self._mean
        self._mean += apart * (case.voxels / self.voxels)
        self._squares += case.squares + apart * apart * (before * case.voxels / self.voxels)
        self._lowest, self._highest = min(self._lowest, case.lowest), max(self._highest, case.highest)
        if self._values is not None and case.values is None:
            self._merge()
            self._give_up_values()
        if self._values is None:
            self._counts += case.counts if case.values is None else _bins_of_values(case.values, case.counts)
            return
        self._pending.append(case)
        if sum(item.counts.size for item in self._pending) > max(self._PENDING_VALUES, self._counts.size):
            self._merge()

    def wanted(self) -> Bins:
        """Return the bins in which the wanted order statistics lie; none where values are known."""
        self._merge()
        if self._values is None:
            reached = np.cumsum(self._counts)
            ranks = sorted({rank for share in _QUANTILES for rank in self._ranks(share)})
            self._bins = tuple(dict.fromkeys(int(np.searchsorted(reached, rank, side="right")) for rank in ranks))
            self._fine = np.zeros((len(self._bins), _HALF), dtype=np.int64)
        return self._bins

    def add_fine(self, counts: NDArray[np.int64]) -> None:
        self._fine += counts

    def intensity(self) -> Intensity:
        self._merge()
        mean, squares = self._mean, self._squares
        if self._values is not None:
            exact = self._values.astype(np.float64)
            mean = float(np.dot(exact, self._counts) / self.voxels)
            squares = float(np.dot(np.square(exact - mean), self._counts))
        elif not np.array_equal(self._fine.sum(axis=1), self._counts[list(self._bins)]):
            raise DataError("the images were changed while they were read; run the same command again")
        low, high = (self._percentile(share) for share in _QUANTILES)
        return Intensity(
            mean=mean,
            sd=math.sqrt(squares / self.voxels),
            percentile_00_5=low,
            percentile_99_5=high,
            minimum=self._lowest,
            maximum=self._highest,
            voxels=self.voxels,
        )

    def _merge(self) -> None:
        """Join the pending values with the known ones; too many give way to bins."""
        if not self._pending or self._values is None:
            return
        parts = [item.values for item in self._pending if item.values is not None]
        values = np.concatenate([self._values, *parts])
        counts = np.concatenate([self._counts, *(item.counts for item in self._pending)])
        self._pending = []
        order = np.argsort(values, kind="stable")
        values, counts = values[order], counts[order]
        first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        self._values, self._counts = values[first], np.add.reduceat(counts, first)
        if self._values.size > self._MOST_VALUES:
            self._give_up_values()

    def _give_up_values(self) -> None:
        if self._values is not None:
            self._counts = _bins_of_values(self._values, self._counts)
            self._values = None

    def _ranks(self, share: float) -> tuple[int, int]:
        """Return the order statistics around ``share * (voxels - 1)``."""
        below = int(share * (self.voxels - 1))
        return below, min(below + 1, self.voxels - 1)

    def _percentile(self, share: float) -> float:
        """Interpolate linearly between the two order statistics around the position."""
        position = share * (self.voxels - 1)
        low, high = (self._at_rank(rank) for rank in self._ranks(share))
        return low + (high - low) * (position - int(position))

    def _at_rank(self, rank: int) -> float:
        reached = np.cumsum(self._counts)
        place = int(np.searchsorted(reached, rank, side="right"))
        if self._values is not None:
            return float(self._values[place])
        fine = self._fine[self._bins.index(place)]
        second = int(np.searchsorted(np.cumsum(fine), rank - int(reached[place] - self._counts[place]), side="right"))
        return _value_of(place, second)


def _count_whole(voxels: NDArray[np.float32], lowest: int, highest: int) -> NDArray[np.int64] | None:
    """Count each whole number from lowest to highest; None if there are other numbers."""
    bins = highest - lowest + 1
    counts = np.zeros(bins, dtype=np.int64)
    block = max(_BLOCK_VOXELS, 4 * bins)  # stays in the processor's cache, and is worth adding up the counts
    for first in range(0, voxels.size, block):
        part = voxels[first : first + block]
        whole = part.astype(np.int32)
        if not (whole.astype(np.float32) == part).all():
            return None
        counts += np.bincount(np.subtract(whole, lowest, dtype=np.intp), minlength=bins)
    return counts


def _exact(values: NDArray[np.float32], counts: NDArray[np.int64]) -> ChannelCounts:
    wide, voxels = values.astype(np.float64), int(counts.sum())
    mean = float(np.dot(wide, counts)) / max(voxels, 1)
    return ChannelCounts(
        voxels=voxels,
        mean=mean,
        squares=float(np.dot(np.square(wide - mean), counts)),
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
    return _in_order(np.bincount(_halves(voxels)[0], minlength=_HALF))


def _bins_of_values(values: NDArray[np.float32], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros(_HALF, dtype=np.int64)
    np.add.at(found, _halves(values)[0], counts)
    return _in_order(found)


def _in_order(stored: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bring counts by stored bits into the numbers' order: negative ones, which are stored upside down, come first."""
    return np.concatenate((stored[: _HALF // 2 - 1 : -1], stored[: _HALF // 2]))


def _value_of(place: int, second: int) -> float:
    ordered = place * _HALF + second
    stored = ordered - (1 << 31) if ordered >= 1 << 31 else (1 << 32) - 1 - ordered
    return float(np.array([stored], dtype=np.uint32).view(np.float32)[0]) + 0.0
