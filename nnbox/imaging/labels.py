"""Resampling label maps: nearest neighbour, or the label with the largest linearly interpolated indicator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnbox.imaging.axis import linear_index, nearest_index

_Label = TypeVar("_Label", bound=np.signedinteger | np.unsignedinteger)
# Output voxels worked on at a time: small enough for their corners and weights to stay in the processor's cache.
_CHUNK_VOX = 1 << 18
_POINTS = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """How an axis is read: the lower neighbour, the step to the upper, its weight out of ``whole``, and the nearest."""

    lower: NDArray[np.intp]
    step: int
    upper_weight: NDArray[np.int64]
    whole: int
    nearest: NDArray[np.intp]

    def part(self, span: slice) -> _Axis:
        """Return the same for a range of output voxels."""
        return _Axis(self.lower[span], self.step, self.upper_weight[span], self.whole, self.nearest[span])


def resample_labels(
    labels: NDArray[_Label], new_shape_vox: Sequence[int], *, order: int, separate_axis: int | None
) -> NDArray[_Label]:
    """Resample a label map; every label of the result occurs in the input.

    Order 0 takes the nearest source voxel. Order 1 takes the label whose indicator, interpolated linearly, is largest,
    background and -1 included; on a tie the label of the nearest source voxel if it is among the tied, else the
    smallest. Only cells whose corners disagree are interpolated. A position halfway between two voxels is nearest to
    the later one.

    Source: 2018 §2.2 (nearest), 2019 §2.1 (per label, linear); the largest indicator is own.

    Args:
        labels: (z, y, x), an integer type; may hold -1.
        new_shape_vox: (z, y, x) to reach.
        order: 0 or 1.
        separate_axis: spatial axis that is taken from the nearest slice, or None.

    Returns:
        A new (z, y, x) array of the same type.
    """
    sizes = tuple(int(size) for size in new_shape_vox)
    axes = [
        _read_axis(old, new, linear=order == 1 and axis != separate_axis)
        for axis, (old, new) in enumerate(zip(labels.shape, sizes, strict=True))
    ]
    labels = np.ascontiguousarray(labels)
    result = np.empty(sizes, dtype=labels.dtype)
    mixed = _mixed_cells(labels, axes)
    for span in _spans(sizes):
        part = (axes[0].part(span), axes[1], axes[2])
        result[span] = labels[part[0].nearest][:, part[1].nearest][:, :, part[2].nearest]
        if mixed is not None:
            chosen = mixed[part[0].lower][:, part[1].lower][:, :, part[2].lower]
            _settle(labels, result[span], np.flatnonzero(chosen), part)
    return result


def _read_axis(old: int, new: int, *, linear: bool) -> _Axis:
    nearest = nearest_index(old, new)
    if not linear or old in (1, new):
        return _Axis(nearest, 0, np.zeros(new, dtype=np.int64), 1, nearest)
    lower, upper_weight = linear_index(old, new)
    common = int(np.gcd.reduce(upper_weight, initial=2 * new))
    return _Axis(lower, 1, upper_weight // common, 2 * new // common, nearest)


def _spans(sizes: tuple[int, ...]) -> Iterator[slice]:
    planes = max(1, _CHUNK_VOX // max(1, sizes[1] * sizes[2]))
    for first in range(0, sizes[0], planes):
        yield slice(first, min(first + planes, sizes[0]))


def _mixed_cells(labels: NDArray[_Label], axes: Sequence[_Axis]) -> NDArray[np.bool_] | None:
    """Mark, by its lowest corner, each cell whose corners disagree; None where no axis is interpolated."""
    if all(axis.step == 0 for axis in axes):
        return None
    smallest: NDArray[_Label] = labels
    largest: NDArray[_Label] = labels
    for index, axis in enumerate(axes):
        if axis.step:
            head: list[slice] = [slice(None)] * 3
            tail: list[slice] = [slice(None)] * 3
            head[index], tail[index] = slice(None, -1), slice(1, None)
            smallest = np.minimum(smallest[tuple(head)], smallest[tuple(tail)])
            largest = np.maximum(largest[tuple(head)], largest[tuple(tail)])
    mixed: NDArray[np.bool_] = smallest != largest
    return mixed


def _settle(
    labels: NDArray[_Label], target: NDArray[_Label], where: NDArray[np.intp], axes: tuple[_Axis, _Axis, _Axis]
) -> None:
    """Interpolate at the given flat positions of ``target`` (which holds the nearest labels) and write the winners."""
    flat = target.reshape(-1)
    strides = (labels.shape[1] * labels.shape[2], labels.shape[2], 1)
    for first in range(0, where.size, _POINTS):
        points = where[first : first + _POINTS]
        lowest = np.zeros(points.size, dtype=np.intp)
        corners = [(0, np.ones(points.size, dtype=np.int64))]
        for index, axis, stride in zip(np.unravel_index(points, target.shape), axes, strides, strict=True):
            lowest += axis.lower[index] * stride
            if axis.step:
                upper = axis.upper_weight[index]
                lower = axis.whole - upper
                corners = [
                    (offset + extra, weight * factor)
                    for offset, weight in corners
                    for extra, factor in ((0, lower), (stride, upper))
                ]
        values = [labels.reshape(-1)[lowest + offset] for offset, _ in corners]
        flat[points] = _winners(values, [weight for _, weight in corners], flat[points])


def _winners(
    values: Sequence[NDArray[_Label]], weights: Sequence[NDArray[np.int64]], nearest: NDArray[_Label]
) -> NDArray[_Label]:
    """Return per point the label of the largest summed weight; ties to ``nearest`` if tied, else to the smallest."""
    scores = [weight.copy() for weight in weights]
    for a in range(len(values)):
        for b in range(a + 1, len(values)):
            same = values[a] == values[b]
            scores[a] += weights[b] * same
            scores[b] += weights[a] * same
    best, winner = scores[0], values[0]
    of_nearest = scores[0] * (values[0] == nearest)
    for value, score in zip(values[1:], scores[1:], strict=True):
        better = (score > best) | ((score == best) & (value < winner))
        best = np.maximum(best, score)
        winner = np.where(better, value, winner)
        of_nearest = np.maximum(of_nearest, score * (value == nearest))
    return np.where(of_nearest == best, nearest, winner)
