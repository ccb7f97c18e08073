"""The order in which tiles are visited, and which voxels each step begins, completes, or leaves for a later row.

Tiles are visited row by row: z outermost, then y, then x. Cut the volume wherever a tile begins or ends along z and y;
between cuts lie *cells*, full along x. Every voxel of a cell is seen by the same tile rows, so a cell is begun by one
row of tiles (a z and a y position) and completed by one. Only cells that are begun and not completed need memory; at
any time most of them rest, waiting for the next z position. Everything here is arithmetic; no array is made.
Source: own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from nnbox.geometry import Shape3
from nnbox.inference.tiles import tile_starts

Corner = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of an axis that the same tile positions see.

    Attributes:
        start: its first voxel.
        stop: the voxel after its last.
        first: index of the first tile position that sees it.
        last: index of the last one.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def size(self) -> int:
        """Its length in voxels."""
        return self.stop - self.start


@dataclass(frozen=True)
class Walk:
    """The tiles of a volume.

    An axis shorter than the tile has one tile, which reaches beyond the volume by half of what is missing on either
    side: there its position is negative.

    Attributes:
        shape_vox: of the volume.
        patch_vox: of a tile.
    """

    shape_vox: Shape3
    patch_vox: Shape3

    @cached_property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """The tile positions of each axis."""
        found = []
        for size, patch in zip(self.shape_vox, self.patch_vox, strict=True):
            missing = patch - size
            found.append((-(missing // 2),) if missing > 0 else tile_starts(size, patch))
        return tuple(found)

    @cached_property
    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """The segments of each axis, in order."""
        return tuple(map(_segments, self.shape_vox, self.patch_vox, self.starts))

    @property
    def tiles(self) -> int:
        """How many tiles there are."""
        z, y, x = map(len, self.starts)
        return z * y * x

    def rows(self) -> Iterator[tuple[int, int]]:
        """Yield the tile rows as (index of the z position, index of the y position), in order."""
        for z in range(len(self.starts[0])):
            for y in range(len(self.starts[1])):
                yield z, y

    def corners(self, row: tuple[int, int]) -> Iterator[Corner]:
        """Yield the first voxel of each tile of a row."""
        for x in self.starts[2]:
            yield self.starts[0][row[0]], self.starts[1][row[1]], x

    def peak_voxels(self, *, rest: float = 1.0, halo: tuple[int, int] = (0, 0)) -> float:
        """Return the most memory that cells need at a time, in voxels.

        Args:
            rest: what a voxel of a resting cell needs, compared with one being added to.
            halo: voxels that a cell holds beside its own, along z and y.
        """
        z_live = [_live(self.segments[0], index, halo[0]) for index in range(len(self.starts[0]))]
        y_live = [_live(self.segments[1], index, halo[1]) for index in range(len(self.starts[1]))]
        most = 0.0
        for z in z_live:
            for y in y_live:
                most = max(most, z.seen * y.seen + rest * (z.kept * y.passed + z.brought * y.ahead))
        return most * self.shape_vox[2]


@dataclass(frozen=True, slots=True)
class _Live:
    """Lengths along an axis at one tile position: what it sees, and of that what came before or is left for later."""

    seen: int
    kept: int
    brought: int
    passed: int
    ahead: int


def _live(segments: Sequence[Segment], index: int, halo: int) -> _Live:
    sized = [(item, item.size + halo) for item in segments]
    seen = [(item, size) for item, size in sized if item.first <= index <= item.last]
    return _Live(
        seen=sum(size for _, size in seen),
        kept=sum(size for item, size in seen if item.last > index),
        brought=sum(size for item, size in seen if item.first < index),
        passed=sum(size for item, size in sized if item.last < index),
        ahead=sum(size for item, size in sized if item.first > index),
    )


def _segments(size: int, patch: int, starts: Sequence[int]) -> tuple[Segment, ...]:
    cuts = sorted({min(max(cut, 0), size) for start in starts for cut in (start, start + patch)})
    found, first, last = [], 0, -1
    for start, stop in itertools.pairwise(cuts):
        while last + 1 < len(starts) and starts[last + 1] <= start:
            last += 1
        while starts[first] + patch <= start:
            first += 1
        found.append(Segment(start, stop, first, last))
    return tuple(found)
