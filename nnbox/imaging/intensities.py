"""Foreground intensities of any number of cases in bounded memory: the same order statistics as of all in one array.

As long as a channel's distinct values are few, as whole numbers' are, they are counted. When they become too many, only
the first half of their bits is counted, in ordered form: 65,536 bins. The wanted order statistics then lie in at most
four bins, and a second pass over the cases counts the other half of the bits in these. Source: own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.imaging.counts import HALF, Bins, CaseCounts, ChannelCounts, FineCounts, bins_of_values, value_of
from nnbox.records.fingerprint import Intensity

_QUANTILES = (0.005, 0.995)


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
        self._fine = np.empty((0, HALF), dtype=np.int64)

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
            self._counts += case.counts if case.values is None else bins_of_values(case.values, case.counts)
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
            self._fine = np.zeros((len(self._bins), HALF), dtype=np.int64)
        return self._bins

    def add_fine(self, counts: NDArray[np.int64]) -> None:
        self._fine += counts

    def intensity(self) -> Intensity:
        self._merge()
        mean, squares = self._mean, self._squares
        if self._values is not None:
            exact = self._values.astype(np.float64)
            mean = float(np.sum(exact * self._counts) / self.voxels)
            squares = float(np.sum(np.square(exact - mean) * self._counts))
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
            self._counts = bins_of_values(self._values, self._counts)
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
        return value_of(place, second)
