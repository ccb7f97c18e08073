"""What a voxel of one grid reads on another: up to eight corners, each with its weight, looked up where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from nnbox.imaging.axis import linear_index, nearest_index

Box3 = tuple[slice, slice, slice]
POINTS = 1 << 14
"""How many points are best looked up at a time: their indices and weights stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisReading:
    """How one axis of the target reads the source.

    Attributes:
        lower: int64 (new,), the source voxel below a position, or the one it lies in.
        step: 1 where the axis is interpolated with the next voxel, else 0.
        weights: float32 (1 + step, new), of ``lower`` and of the voxel after it.
    """

    lower: NDArray[np.int64]
    step: int
    weights: NDArray[np.float32]

    def outputs(self, start: int, stop: int) -> slice:
        """Return the target positions whose last source voxel lies in ``start:stop``."""
        last = self.lower + self.step
        first, end = np.searchsorted(last, [start, stop])
        return slice(int(first), int(end))

    def needs(self, outputs: slice) -> slice:
        """Return the source voxels that a range of target positions reads."""
        part = self.lower[outputs]
        return slice(int(part[0]), int(part[-1]) + self.step + 1)


def read_axis(old: int, new: int, *, nearest: bool, sums: NDArray[np.float32] | None = None) -> AxisReading:
    """Settle how an axis of ``new`` voxels reads one of ``old``.

    Args:
        old: size of the source's axis.
        new: size of the target's axis.
        nearest: take the voxel a position lies in, instead of interpolating.
        sums: (old,) factors that the source carries, or None.
    """
    inverse = np.ones(old) if sums is None else 1.0 / sums.astype(np.float64)
    if nearest or old in (1, new):
        lower = nearest_index(old, new).astype(np.int64)
        return AxisReading(lower, 0, inverse[lower].astype(np.float32)[None])
    below, upper = linear_index(old, new)
    share = upper / (2 * new)
    weights = np.stack([(1 - share) * inverse[below], share * inverse[below + 1]])
    return AxisReading(below.astype(np.int64), 1, weights.astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A part of one member's class probabilities.

    Attributes:
        values: float32 (classes, z, y, x), on any device; all voxels that a box of the target reads, full along x.
        start: (z, y) of its first voxel in the member's grid.
        axes: how z, y and x of the target read the member's grid.
    """

    values: Tensor
    start: tuple[int, int]
    axes: tuple[AxisReading, AxisReading, AxisReading]


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """How the lines (along x) of a box read the part of a source that it needs.

    Attributes:
        lowest: int32 (lines,), flat index of the first voxel of the lowest source line.
        lines: int32 (1, 2 or 4,), what leads from there to the other source lines.
        weights: float32 (lines, 1, 2 or 4), of each source line.
        x_lower: int32 (x,), the lower neighbour within a source line.
        x_weights: float32 (x, 1 or 2).
    """

    lowest: NDArray[np.int32]
    lines: NDArray[np.int32]
    weights: NDArray[np.float32]
    x_lower: NDArray[np.int32]
    x_weights: NDArray[np.float32]

    @staticmethod
    def of(source: Source, box: Box3, part: tuple[int, ...]) -> _Lines:
        """Settle it for a part of the source of shape (z, y, x)."""
        (z, y, x), (z_out, y_out, x_out) = source.axes, box
        plane, line = part[1] * part[2], part[2]
        z_lower, y_lower = z.lower[z_out] - z.lower[z_out.start], y.lower[y_out] - y.lower[y_out.start]
        steps = np.add.outer(np.arange(z.step + 1) * plane, np.arange(y.step + 1) * line)
        weights = z.weights[:, None, z_out, None] * y.weights[None, :, None, y_out]
        return _Lines(
            lowest=np.add.outer(z_lower * plane, y_lower * line).reshape(-1).astype(np.int32),
            lines=steps.reshape(-1).astype(np.int32),
            weights=np.ascontiguousarray(weights.reshape(steps.size, -1).T),
            x_lower=x.lower[x_out].astype(np.int32),
            x_weights=np.ascontiguousarray(x.weights[:, x_out].T),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CornerTable:
    """The voxels that some points of a box read, each as a row of its classes.

    Attributes:
        rows: float32 (voxels, classes), on the source's device.
        place: int32 (voxels of the part,), where a voxel's row is; meaningless for voxels that are not read.
        reading: how lines of the box read the part.
    """

    rows: Tensor
    place: NDArray[np.int32]
    reading: _Lines

    @staticmethod
    def of(source: Source, points: NDArray[np.intp], box: Box3) -> CornerTable:
        """Gather the voxels that the given flat positions of a box read."""
        needed = part_read(source, box)
        values = source.values[:, needed[0], needed[1]]
        reading = _Lines.of(source, box, tuple(values.shape[1:]))
        used = np.zeros(values.shape[1:], dtype=np.bool_)
        for first in range(0, points.size, POINTS):
            line, x = _positions(points[first : first + POINTS], reading)
            used.reshape(-1)[reading.lowest.take(line) + reading.x_lower.take(x)] = True
        for axis, axis_reading in enumerate(source.axes):
            if axis_reading.step:
                head, tail = neighbours(axis)
                used[tail] |= used[head].copy()
        place = np.cumsum(used.reshape(-1), dtype=np.int32) - np.int32(1)
        voxels = torch.from_numpy(np.flatnonzero(used)).to(values.device)
        rows = values.reshape(len(values), -1).index_select(1, voxels).t().contiguous()
        return CornerTable(rows, place, reading)

    def interpolated(self, points: NDArray[np.intp]) -> Tensor:
        """Return float32 (points, classes)."""
        reading = self.reading
        line, x = _positions(points, reading)
        lowest = reading.lowest.take(line) + reading.x_lower.take(x)
        corners = self.place.take(lowest[:, None] + reading.lines)
        weights, x_weights = reading.weights.take(line, axis=0), reading.x_weights.take(x, axis=0)
        if x_weights.shape[1] == 2:
            # Voxels side by side are both read, so their rows lie side by side too.
            corners = np.concatenate([corners, corners + np.int32(1)], axis=1)
            weights = np.concatenate([weights * x_weights[:, :1], weights * x_weights[:, 1:]], axis=1)
        else:
            weights = weights * x_weights
        device = self.rows.device
        return F.embedding_bag(
            torch.from_numpy(corners).to(device),
            self.rows,
            per_sample_weights=torch.from_numpy(weights).to(device),
            mode="sum",
        )


def _positions(points: NDArray[np.intp], reading: _Lines) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return flat positions of a box as (line, x)."""
    flat, length = points.astype(np.int32), np.int32(len(reading.x_lower))
    line = flat // length
    return line, flat - line * length


def part_read(source: Source, box: Box3) -> tuple[slice, slice]:
    """Return the source's own (z, y) ranges that a box reads."""
    ranges = []
    for reading, outputs, start in zip(source.axes, box, source.start, strict=False):
        needed = reading.needs(outputs)
        ranges.append(slice(needed.start - start, needed.stop - start))
    return ranges[0], ranges[1]


def neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the indices that leave out the last and the first voxel along an axis."""
    everything = (slice(None),) * axis
    return (*everything, slice(None, -1)), (*everything, slice(1, None))
