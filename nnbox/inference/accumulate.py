"""Weighted sums of tiles, cell by cell: a cell is made when a tile first reaches it and given away when it is complete.

A cell that waits for the next z position rests. At rest it can be kept in 16 bits: every class as a share of the
voxel's highest, in steps of 1/65535, except the highest few, which stay float32. What can still win is exact, then, and
what is rounded (to 8e-6 of the highest; fp16 would round the next ones to 2e-4) is behind; a label changes only where a
class from behind the first `EXACT_CLASSES` overtakes them by a hair. Source: own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nnbox.inference.walk import Corner, Segment, Walk
from nnbox.network.stretches import in_stretches

EXACT_CLASSES = 4
"""How many of a voxel's highest classes stay float32 while a cell rests in 16 bits."""
_STEPS, _LOWEST = 65535, 32768
_PART_VALUES = 1 << 19  # of a cell that goes to rest or wakes: 2 MB, of which each thread holds some copies

Part = tuple[slice, int, slice]


def rest_share(classes: int) -> float:
    """Return the memory of a voxel that rests in 16 bits, compared with float32; 1 where resting is not worth it."""
    share = (2 * classes + (4 + 2) * EXACT_CLASSES) / (4 * classes)
    return share if share < 0.9 else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A complete cell with what its target voxels read beside it.

    Attributes:
        values: float32 (classes, z, y, x): sums of weighted probabilities; the halo comes first.
        z, y: the cell, without its halo.
        halo: voxels of the earlier neighbour along z and y in ``values``.
    """

    values: Tensor
    z: Segment
    y: Segment
    halo: tuple[int, int]


class Cells:
    """The cells of one volume that are begun and not complete."""

    def __init__(
        self, walk: Walk, classes: int, device: torch.device, *, interpolated: tuple[bool, bool], halves: bool
    ) -> None:
        """Begin with none.

        Args:
            walk: the tiles.
            classes: of the sums.
            device: where sums lie.
            interpolated: whether the target is interpolated along z and y, so that a cell needs its neighbour's edge.
            halves: let cells rest in 16 bits.
        """
        self.walk = walk
        self.classes = classes
        self._device = device
        self._interpolated = interpolated
        self._halves = halves and rest_share(classes) < 1
        self._live: dict[tuple[int, int], Tensor | _Rest] = {}
        self._below: dict[int, Tensor] = {}
        self._before: dict[int, Tensor] = {}

    def add(self, corner: Corner, tile: Tensor) -> None:
        """Add a weighted tile (classes, *patch), as far as it lies inside the volume."""
        shape, patch = self.walk.shape_vox, self.walk.patch_vox
        inside = [slice(max(c, 0), min(c + p, s)) for c, p, s in zip(corner, patch, shape, strict=True)]
        z_segments, y_segments, _ = self.walk.segments
        x_tile = slice(inside[2].start - corner[2], inside[2].stop - corner[2])
        for z in _seen(z_segments, inside[0]):
            z_tile = slice(z_segments[z].start - corner[0], z_segments[z].stop - corner[0])
            for y in _seen(y_segments, inside[1]):
                y_tile = slice(y_segments[y].start - corner[1], y_segments[y].stop - corner[1])
                self._cell(z, y)[:, :, :, inside[2]] += tile[:, z_tile, y_tile, x_tile]

    def complete(self, row: tuple[int, int]) -> Iterator[Finished]:
        """Give the cells that a row of tiles completes, in the order of y within z; put others to rest."""
        z_segments, y_segments, _ = self.walk.segments
        for y, y_segment in enumerate(y_segments):
            if y_segment.last != row[1]:
                continue
            for z, z_segment in enumerate(z_segments):
                if z_segment.first <= row[0] < z_segment.last and self._halves:
                    self._rest(z, y)
        done_z = [z for z, segment in enumerate(z_segments) if segment.last == row[0]]
        done_y = [y for y, segment in enumerate(y_segments) if segment.last == row[1]]
        for y in done_y:
            for z in done_z:
                yield self._finished(z, y)

    @property
    def live_values(self) -> int:
        """How many float32 and resting values are held, for tests of the arithmetic."""
        return sum(cell.numel() for cell in self._live.values())

    def _halo(self, z: int, y: int) -> tuple[int, int]:
        return int(z > 0 and self._interpolated[0]), int(y > 0 and self._interpolated[1])

    def _cell(self, z: int, y: int) -> Tensor:
        """Return a cell's own voxels, made or woken where it is not there."""
        above, left = self._halo(z, y)
        cell = self._live.get((z, y))
        if not isinstance(cell, Tensor):
            z_size, y_size = self.walk.segments[0][z].size, self.walk.segments[1][y].size
            size = (self.classes, above + z_size, left + y_size, self.walk.shape_vox[2])
            whole = torch.zeros(size, device=self._device)
            if cell is not None:
                cell.wake(whole[:, above:, left:])
            self._live[z, y] = cell = whole
        return cell[:, above:, left:]

    def _rest(self, z: int, y: int) -> None:
        cell = self._live.get((z, y))
        if isinstance(cell, Tensor):
            self._live[z, y] = _Rest.of(self._cell(z, y))

    def _finished(self, z: int, y: int) -> Finished:
        above, left = halo = self._halo(z, y)
        self._cell(z, y)
        values = self._live.pop((z, y))
        if not isinstance(values, Tensor):
            raise TypeError("a cell that is complete cannot rest")
        z_segment, y_segment = self.walk.segments[0][z], self.walk.segments[1][y]
        if above:
            first = y_segment.start - left
            values[:, 0] = self._below[z - 1][:, first : y_segment.stop]
        if left:
            values[:, above:, 0] = self._before[z]
        self._keep_edges(z, y, values)
        return Finished(values, z_segment, y_segment, halo)

    def _keep_edges(self, z: int, y: int, values: Tensor) -> None:
        """Keep the last plane and the last line of a cell for the cells after it; let go of what nobody needs."""
        last_z, last_y = (len(segments) - 1 for segments in self.walk.segments[:2])
        above, left = self._halo(z, y)
        if self._interpolated[0] and z < last_z:
            if z not in self._below:
                size = (self.classes, self.walk.shape_vox[1], self.walk.shape_vox[2])
                self._below[z] = torch.empty(size, device=self._device)
            segment = self.walk.segments[1][y]
            self._below[z][:, segment.start : segment.stop] = values[:, -1, left:]
        if self._interpolated[1]:
            if y < last_y:
                self._before[z] = values[:, above:, -1].clone()
            else:
                self._before.pop(z, None)
        if y == last_y:
            self._below.pop(z - 1, None)


@dataclass(frozen=True, slots=True, eq=False)
class _Rest:
    """A cell in 16 bits.

    Attributes:
        shares: int16 (classes, z, y, x), of the voxel's highest value: -32768 is 0, 32767 is all of it.
        highest: float32 (EXACT_CLASSES, z, y, x), descending.
        which: int16 (EXACT_CLASSES, z, y, x), their classes.
    """

    shares: Tensor
    highest: Tensor
    which: Tensor

    @staticmethod
    def of(cell: Tensor) -> _Rest:
        exact = (EXACT_CLASSES, *cell.shape[1:])
        rest = _Rest(
            shares=torch.empty(cell.shape, dtype=torch.int16, device=cell.device),
            highest=torch.empty(exact, device=cell.device),
            which=torch.empty(exact, dtype=torch.int16, device=cell.device),
        )

        def store(part: Part) -> None:
            values, classes = torch.topk(cell[part], EXACT_CLASSES, dim=0)
            rest.highest[part], rest.which[part] = values, classes
            shares = cell[part] / values[0].clamp(min=torch.finfo(torch.float32).tiny)
            rest.shares[part] = shares.mul_(_STEPS).round_().sub_(_LOWEST)

        _each_part(store, cell)
        return rest

    def wake(self, cell: Tensor) -> None:
        """Write the values back."""

        def write(part: Part) -> None:
            highest = self.highest[part]
            woken = self.shares[part].float().add_(_LOWEST).mul_(highest[0] / _STEPS)
            cell[part] = woken.scatter_(0, self.which[part].long(), highest)

        _each_part(write, cell)

    def numel(self) -> int:
        """Return the number of stored values."""
        return self.shares.numel() + self.highest.numel() + self.which.numel()


def _each_part(work: Callable[[Part], None], cell: Tensor) -> None:
    """Work on some lines of a plane at a time; on a card, which has threads of its own, on whole planes."""
    classes, planes, lines, voxels = cell.shape
    on_card = cell.device.type != "cpu"
    length = lines if on_card else max(1, _PART_VALUES // (classes * voxels))
    every = slice(None)
    parts = [(every, plane, slice(at, at + length)) for plane in range(planes) for at in range(0, lines, length)]

    def stretch(numbers: range) -> None:
        for number in numbers:
            work(parts[number])

    if on_card:
        stretch(range(len(parts)))
    else:
        in_stretches(stretch, len(parts))


def _seen(segments: tuple[Segment, ...], inside: slice) -> Iterator[int]:
    for index, segment in enumerate(segments):
        if segment.start < inside.stop and segment.stop > inside.start:
            yield index
