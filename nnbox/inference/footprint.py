"""The memory of one configuration's sweep over a prepared case, as arithmetic: nothing is made, nothing is read.

What is counted: cells that are added to or rest, what they read of their neighbours, forward passes that run and
answers that wait, the pieces in which complete cells become labels, and for several configurations together the slabs
that wait for each other. Source: own; compared with measurements in ``tests/stages/test_memory.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnbox.geometry import Shape3
from nnbox.inference.accumulate import rest_share
from nnbox.inference.class_maps import TABLE_VALUES
from nnbox.inference.passes import Effort
from nnbox.inference.walk import Walk
from nnbox.network.forward_memory import FLOAT_BYTES, answer_bytes, card_forward_bytes, forward_bytes
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision

_TABLE_COPIES = 3  # of the part of a cell that is looked up: cut out, chosen from, turned


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSize:
    """All that decides the memory of a sweep.

    Attributes:
        topology: of the networks.
        patch_size: in voxels, two entries for networks that see slices.
        shape_vox: of the prepared case.
        interpolated: whether the target is interpolated along z and y.
        calls: calls of a network per group of tiles: mirrored passes and members.
        precision: settled.
        together: other configurations are swept beside it, plane by plane.
        on_card: networks and sums lie on a CUDA device.
    """

    topology: Topology
    patch_size: tuple[int, ...]
    shape_vox: Shape3
    interpolated: tuple[bool, bool]
    calls: int
    precision: Precision
    together: bool
    on_card: bool

    @property
    def walk(self) -> Walk:
        """The tiles; of slices, which leave nothing for the next, those of one."""
        if len(self.patch_size) == 2:
            y, x = self.patch_size
            return Walk((1, *self.shape_vox[1:]), (1, y, x))
        z, y, x = self.patch_size
        return Walk(self.shape_vox, (z, y, x))


def sweep_bytes(size: SweepSize, effort: Effort, *, halves: bool) -> int:
    """Return the most that a sweep holds where its networks lie, the networks and the prepared case left out.

    Args:
        size: of the sweep.
        effort: what is done at once.
        halves: cells rest in 16 bits.
    """
    passes = _passes_bytes(size, effort)
    slabs = _slab_bytes(size) if size.together else _written_bytes(size)
    return int(cells_bytes(size, halves=halves) + _edges_bytes(size) + passes + _table_bytes(size) + slabs)


def cells_bytes(size: SweepSize, *, halves: bool) -> float:
    """Return what begun cells hold; one that goes to rest or wakes is there in both forms for a moment."""
    walk, classes = size.walk, size.topology.classes
    rest = rest_share(classes) if halves else 1.0
    halo = (0, 0) if size.together else (int(size.interpolated[0]), int(size.interpolated[1]))
    held = walk.peak_voxels(rest=rest, halo=halo)
    if rest < 1:
        largest = [max(segment.size for segment in segments) for segments in walk.segments[:2]]
        held += rest * math.prod(largest) * size.shape_vox[2]
    return FLOAT_BYTES * classes * held


def _edges_bytes(size: SweepSize) -> int:
    """Return what cells keep for the cells after them: two planes, and a line of every cell along z."""
    if size.together:
        return 0
    z, y, x = size.shape_vox
    planes = 2 * y * x if size.interpolated[0] else 0
    lines = min(z, 2 * size.walk.patch_vox[0]) * x if size.interpolated[1] else 0
    return FLOAT_BYTES * size.topology.classes * (planes + lines)


def _passes_bytes(size: SweepSize, effort: Effort) -> int:
    """Return what passes hold: those that run, one that was taken, the sum, and the answer that is remembered."""
    if size.on_card:
        running = card_forward_bytes(size.topology, size.patch_size, effort.samples, size.precision)
    else:
        running = forward_bytes(size.topology, size.patch_size, effort.samples)
    answer = answer_bytes(size.topology, size.patch_size, effort.samples)
    streams = max(1, effort.streams)
    taken = answer if streams > 1 else 0
    tiles = max(1, effort.samples)
    summed = 2 * answer_bytes(size.topology, size.patch_size, tiles) if size.calls > 1 else 0
    remembered = answer_bytes(size.topology, size.patch_size, 1) if effort.remember else 0
    return streams * running + taken + summed + remembered


def _table_bytes(size: SweepSize) -> int:
    """Return what choosing classes holds beside the cell: a thin part of it, three times."""
    walk = size.walk
    rows = size.shape_vox[1] if size.together else max(segment.size for segment in walk.segments[1]) + 1
    plane = size.topology.classes * rows * size.shape_vox[2]
    thickest = max(segment.size for segment in walk.segments[0]) + 1
    return FLOAT_BYTES * _TABLE_COPIES * max(min(TABLE_VALUES, plane * thickest), 2 * plane)


def _written_bytes(size: SweepSize) -> int:
    """Return what a card holds of a complete cell whose labels are written while the next one is added to."""
    if not size.on_card:
        return 0
    largest = [max(segment.size for segment in segments) + 1 for segments in size.walk.segments[:2]]
    return FLOAT_BYTES * size.topology.classes * math.prod(largest) * size.shape_vox[2]


def _slab_bytes(size: SweepSize) -> int:
    """Return what waits for other configurations: all planes that one row of tiles completes, and those before."""
    z = size.walk.segments[0]
    completed: dict[int, int] = {}
    for segment in z:
        completed[segment.last] = completed.get(segment.last, 0) + segment.size
    planes = max(completed.values()) + max(segment.size for segment in z)
    planes = min(planes, size.shape_vox[0])
    return FLOAT_BYTES * size.topology.classes * planes * size.shape_vox[1] * size.shape_vox[2]
