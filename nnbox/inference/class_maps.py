"""From class probabilities on one grid to the most probable class on another, without the probabilities in between.

Each voxel of the target reads up to eight corners of the source linearly and takes the class of the highest mean. Where
all corners have the same class on top, so has every mean of theirs; so only the other cells are interpolated, class by
class, and everything else is a matter of small integers.

**Ties.** The lowest class wins. That agrees with the shortcut: where class k is the lowest on top of every corner, each
lower class is strictly below it in every corner, and each higher one at most as high.

A part of the source may be given at a time, and the values of a voxel may carry a common positive factor per axis
position (the sum of tile weights), which is divided out with the weights of the corners. Source: own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnbox.inference.corners import POINTS, Box3, CornerTable, Source, neighbours, part_read

Classes = NDArray[np.unsignedinteger]
TABLE_VALUES = 1 << 22
"""How many float32 values of a source are laid out anew at a time: 16 MB."""
_TOP_COLUMNS = 1 << 15


def class_type(classes: int) -> type[np.uint8] | type[np.uint16]:
    """Return the type that holds every class and one value more."""
    return np.uint8 if classes < 256 else np.uint16


def write_classes(target: Classes, box: Box3, sources: Sequence[Source]) -> None:
    """Write the class of the highest mean over the sources into a box of the target.

    Args:
        target: (z, y, x) of `class_type`; only the box is written.
        box: what is written; it reads no voxel outside the sources.
        sources: one per member, each counting the same.
    """
    mixed = np.iinfo(target.dtype).max
    for part in _thin(box, sources):
        codes = [_codes(source, part, mixed) for source in sources]
        found = codes[0]
        for code in codes[1:]:
            found[found != code] = mixed
        points = np.flatnonzero(found == mixed)
        if points.size:
            _settle(found, points, sources, part)
        target[part] = found


def top_classes(values: Tensor, kind: type[np.unsignedinteger]) -> Classes:
    """Return the class of the highest value per voxel, the lowest on a tie: (classes, ...) to (...)."""
    if values.device.type != "cpu":
        narrow = torch.uint8 if kind is np.uint8 else torch.int32  # what travels
        return values.argmax(dim=0).to(narrow).cpu().numpy().astype(kind, copy=False)
    flat = values.numpy().reshape(len(values), -1)
    top = np.zeros(flat.shape[1], dtype=kind)
    width = min(_TOP_COLUMNS, flat.shape[1])
    best, higher = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.bool_)
    number = np.empty(width, dtype=kind)
    for first in range(0, flat.shape[1], width):
        part = flat[:, first : first + width]
        count = part.shape[1]
        highest, better, index, found = best[:count], higher[:count], number[:count], top[first : first + width]
        highest[:] = part[0]
        for label in range(1, len(part)):
            # A class that beats all before it has the highest number so far: no choice has to be made, only a maximum.
            np.greater(part[label], highest, out=better)
            np.maximum(highest, part[label], out=highest)
            np.multiply(better.view(np.uint8), kind(label), out=index)
            np.maximum(found, index, out=found)
    return top.reshape(values.shape[1:])


def _thin(box: Box3, sources: Sequence[Source]) -> Iterator[Box3]:
    """Cut a box into slabs along z whose corners, with all their classes, fill at most one table."""
    plane = max(source.values[:, 0].numel() for source in sources)
    readings = [source.axes[0] for source in sources]
    limit = max(1, TABLE_VALUES // plane)
    first = box[0].start
    while first < box[0].stop:
        stop = first + 1
        while stop < box[0].stop and all(reading.lower[stop] - reading.lower[first] < limit for reading in readings):
            stop += 1
        yield slice(first, stop), box[1], box[2]
        first = stop


def _codes(source: Source, box: Box3, mixed: int) -> Classes:
    """Return per voxel of a box the class that all its corners have on top, or ``mixed``."""
    kind = np.uint8 if mixed == 255 else np.uint16
    needed = part_read(source, box)
    top = top_classes(source.values[:, needed[0], needed[1]], kind)
    if any(reading.step for reading in source.axes):
        lowest, highest = top, top
        for axis, reading in enumerate(source.axes):
            if reading.step:
                head, tail = neighbours(axis)
                lowest = np.minimum(lowest[head], lowest[tail])
                highest = np.maximum(highest[head], highest[tail])
        top = np.where(lowest == highest, lowest, kind(mixed))
    for axis in (2, 1, 0):
        lower = source.axes[axis].lower[box[axis]]
        top = top.take(lower - (lower[0] if axis < 2 else 0), axis=axis)
    return top


def _settle(found: Classes, points: NDArray[np.intp], sources: Sequence[Source], box: Box3) -> None:
    """Interpolate at flat positions of a box and write the class of the highest mean."""
    tables = [CornerTable.of(source, points, box) for source in sources]
    flat = found.reshape(-1)
    for first in range(0, points.size, POINTS):
        part = points[first : first + POINTS]
        mean = tables[0].interpolated(part)
        for table in tables[1:]:
            mean += table.interpolated(part)
        flat[part] = top_classes(mean.t().contiguous(), found.dtype.type)
