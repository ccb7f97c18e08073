"""What a case adds to the fingerprint: geometry, components, and the exact distribution of foreground intensities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.geometry import Grid, tidy_spacing_mm
from nnbox.imaging.components import component_counts
from nnbox.imaging.crop import nonzero_box
from nnbox.records.fingerprint import CaseFingerprint, Intensity

# Whole-number intensities within this range are counted instead of sorted.
_COUNTABLE_RANGE = 1 << 20
_PENDING_VALUES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForegroundValues:
    """Every foreground intensity of one or more cases: per channel the distinct values, ascending, and their counts.

    Attributes:
        values: per channel float32.
        counts: per channel int64, of the same length.
    """

    values: tuple[NDArray[np.float32], ...]
    counts: tuple[NDArray[np.int64], ...]


def case_fingerprint(
    name: str, image: NDArray[np.float32], labels: NDArray[np.int32], grid: Grid, label_count: int
) -> CaseFingerprint:
    """Measure one training case.

    Source: 2018 §2.2 (shape and spacing after cropping), own (components).

    Args:
        name: the case.
        image: (channel, z, y, x) float32, source order.
        labels: (z, y, x) consecutive labels 0..label_count, source order.
        grid: of the image.
        label_count: number of foreground labels.
    """
    box, _ = nonzero_box(image)
    z, y, x = image.shape[1:]
    dz, dy, dx = tidy_spacing_mm(grid.spacing_mm)
    voxels = np.bincount(np.maximum(labels, 0).reshape(-1), minlength=label_count + 1)
    return CaseFingerprint(
        name=name,
        source_shape_vox=(z, y, x),
        shape_vox=box.shape_vox,
        spacing_mm=(dz, dy, dx),
        crop_ratio=float(np.prod(box.shape_vox, dtype=np.float64) / np.prod((z, y, x), dtype=np.float64)),
        label_voxels=tuple(int(count) for count in voxels[1 : label_count + 1]),
        components=component_counts(labels, label_count),
    )


def foreground_values(image: NDArray[np.float32], labels: NDArray[np.int32]) -> ForegroundValues:
    """Collect the intensities of all voxels with a label above 0, at original resolution.

    Source: 2018 §2.2 (the release takes every tenth voxel; here every one).

    Args:
        image: (channel, z, y, x) float32.
        labels: (z, y, x).
    """
    foreground = labels > 0
    pairs = [_distinct(channel[foreground]) for channel in image]
    return ForegroundValues(values=tuple(pair[0] for pair in pairs), counts=tuple(pair[1] for pair in pairs))


def combine_intensities(cases: Iterable[ForegroundValues]) -> tuple[Intensity, ...]:
    """Return each channel's statistics over all cases, exactly as if all voxels lay in one array.

    Percentiles are those of ``numpy.percentile`` (linear). Cases are merged as they come: what is held grows with the
    number of distinct values, not with the number of cases or voxels.

    Source: 2018 §2.2.

    Raises:
        DataError: no case has a foreground voxel.
    """
    merged: ForegroundValues | None = None
    pending: list[ForegroundValues] = []
    waiting = 0
    for case in cases:
        pending.append(case)
        waiting += sum(values.size for values in case.values)
        held = 0 if merged is None else sum(values.size for values in merged.values)
        if waiting > max(_PENDING_VALUES, held):
            merged = _merge([*([] if merged is None else [merged]), *pending])
            pending, waiting = [], 0
    merged = _merge([*([] if merged is None else [merged]), *pending])
    if not merged.values or merged.values[0].size == 0:
        raise DataError("no training case has a foreground voxel, so there are no intensities to measure")
    return tuple(_intensity(values, counts) for values, counts in zip(merged.values, merged.counts, strict=True))


def _distinct(voxels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if voxels.size:
        lowest, highest = float(voxels.min()), float(voxels.max())
        if highest - lowest < _COUNTABLE_RANGE and np.array_equal(voxels, np.rint(voxels)):
            counts = np.bincount(voxels.astype(np.int64) - int(lowest))
            present = np.flatnonzero(counts)
            return (present + int(lowest)).astype(np.float32), counts[present].astype(np.int64)
    values, counts = np.unique(voxels, return_counts=True)
    return values.astype(np.float32), counts.astype(np.int64)


def _merge(parts: list[ForegroundValues]) -> ForegroundValues:
    if not parts:
        return ForegroundValues(values=(), counts=())
    values, counts = [], []
    for channel in range(len(parts[0].values)):
        everything = np.concatenate([part.values[channel] for part in parts])
        repeats = np.concatenate([part.counts[channel] for part in parts])
        order = np.argsort(everything, kind="stable")
        everything, repeats = everything[order], repeats[order]
        first = np.flatnonzero(np.r_[True, everything[1:] != everything[:-1]]) if everything.size else order
        values.append(everything[first])
        counts.append(np.add.reduceat(repeats, first) if first.size else repeats)
    return ForegroundValues(values=tuple(values), counts=tuple(counts))


def _intensity(values: NDArray[np.float32], counts: NDArray[np.int64]) -> Intensity:
    exact = values.astype(np.float64)
    reached = np.cumsum(counts)
    total = int(reached[-1])
    mean = float(np.dot(exact, counts) / total)
    return Intensity(
        mean=mean,
        sd=float(np.sqrt(np.dot(np.square(exact - mean), counts) / total)),
        percentile_00_5=_percentile(exact, reached, 0.005),
        percentile_99_5=_percentile(exact, reached, 0.995),
        minimum=float(exact[0]),
        maximum=float(exact[-1]),
        voxels=total,
    )


def _percentile(values: NDArray[np.float64], reached: NDArray[np.int64], share: float) -> float:
    """Interpolate linearly between the two order statistics around ``share * (voxels - 1)``."""
    position = share * (int(reached[-1]) - 1)
    below = int(position)
    above = min(below + 1, int(reached[-1]) - 1)
    low, high = (float(values[np.searchsorted(reached, rank, side="right")]) for rank in (below, above))
    return low + (high - low) * (position - below)
