"""From swept volumes to the label map of a case, in slabs: what is complete is turned into labels and let go.

One member's cells are read as they come. Several members may lie on different grids; their cells are then gathered into
slabs, and each plane of the target is chosen as soon as every member's slabs reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor

from nnbox.geometry import Shape3
from nnbox.inference.class_maps import TABLE_VALUES, Classes, class_type, write_classes
from nnbox.inference.corners import AxisReading, Source, read_axis
from nnbox.inference.sweep import Window, sweep
from nnbox.inference.volume import Volume
from nnbox.inference.walk import Segment


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One member's share in a label map.

    Attributes:
        window: its networks.
        volume: the case as they see it.
        separate_axis: axis along which the target takes the nearest voxel, or None.
    """

    window: Window
    volume: Volume
    separate_axis: int | None

    def axes(self, target_shape: Shape3) -> tuple[AxisReading, AxisReading, AxisReading]:
        """Return how the target's axes read the volume's grid, the sums of tile weights divided out."""
        shape = self.volume.shape_vox
        z, y, x = (
            read_axis(old, new, nearest=axis == self.separate_axis, sums=sums)
            for axis, (old, new, sums) in enumerate(zip(shape, target_shape, self.window.sums(shape), strict=True))
        )
        return z, y, x


def write_label_map(target: Classes, parts: Sequence[Part]) -> None:
    """Write the most probable class of every voxel, each member counting the same; on a tie the lowest class.

    Probabilities are averaged over folds and mirrored passes on a member's grid, then read linearly at the target's
    voxels and averaged over members, then compared. Source: 2018 §2.4, §2.6; 2019 §2.3; own (linear).

    Args:
        target: (z, y, x) of `class_type`, filled.
        parts: one per member, at least one.

    Raises:
        ValueError: no member.
    """
    if not parts:
        raise ValueError("a label map needs at least one member")
    shape = (target.shape[0], target.shape[1], target.shape[2])
    if len(parts) == 1:
        _write_alone(target, parts[0], parts[0].axes(shape))
    else:
        _write_together(target, [_Slabs(part, part.axes(shape)) for part in parts])


def label_map(parts: Sequence[Part], target_shape: Shape3) -> Classes:
    """Return a new label map; see `write_label_map`."""
    target = np.empty(target_shape, dtype=class_type(parts[0].window.classes if parts else 0))
    write_label_map(target, parts)
    return target


def _write_alone(target: Classes, part: Part, axes: tuple[AxisReading, AxisReading, AxisReading]) -> None:
    along_x = slice(0, target.shape[2])
    interpolated = (axes[0].step > 0, axes[1].step > 0)
    with _Writing(beside=part.window.device.type != "cpu") as writing:
        for cell in sweep(part.window, part.volume, interpolated=interpolated):
            box = (axes[0].outputs(cell.z.start, cell.z.stop), axes[1].outputs(cell.y.start, cell.y.stop), along_x)
            if box[0].start < box[0].stop and box[1].start < box[1].stop:
                start = (cell.z.start - cell.halo[0], cell.y.start - cell.halo[1])
                writing.do(partial(write_classes, target, box, [Source(cell.values, start, axes)]))
            del cell  # or it would live until the next is complete, beside the cells that the next row begins


class _Writing:
    """Does things one at a time: at once, or in a thread beside a card, which would else have nothing to do."""

    def __init__(self, *, beside: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "nnbox-labels") if beside else None
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is None:
            return
        try:
            if kind is None:
                self._wait()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def do(self, work: Callable[[], None]) -> None:
        """Do it, or have it done as soon as the one before is; what that one raised is raised here."""
        if self._pool is None:
            work()
            return
        self._wait()
        self._last = self._pool.submit(work)

    def _wait(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.result()


def _write_together(target: Classes, members: Sequence[_Slabs]) -> None:
    done = 0
    while done < target.shape[0]:
        reached = [member.reached for member in members]
        if min(reached) <= done:
            members[reached.index(min(reached))].advance()
            continue
        stop = done + 1
        while stop < min(reached) and all(member.is_small(slice(done, stop + 1)) for member in members):
            stop += 1
        planes = slice(done, stop)
        box = (planes, slice(0, target.shape[1]), slice(0, target.shape[2]))
        write_classes(target, box, [member.source(planes) for member in members])
        done = stop


class _Slabs:
    """A member's complete planes that the target has not passed yet."""

    def __init__(self, part: Part, axes: tuple[AxisReading, AxisReading, AxisReading]) -> None:
        self.axes = axes
        self._shape = part.volume.shape_vox
        self._cells = sweep(part.window, part.volume, interpolated=(False, False))
        self._slabs: dict[Segment, Tensor] = {}
        self._missing: dict[Segment, int] = {}
        self._complete = 0

    @property
    def reached(self) -> int:
        """How many planes of the target can be chosen."""
        return int(self.axes[0].outputs(0, self._complete).stop)

    def is_small(self, planes: slice) -> bool:
        """Whether what these planes read may be copied at once."""
        needed = self.axes[0].needs(planes)
        slab = next(iter(self._slabs.values()))
        return int((needed.stop - needed.start) * slab[:, 0].numel()) <= 2 * TABLE_VALUES

    def advance(self) -> None:
        """Take the next complete cell."""
        cell = next(self._cells)
        if cell.z not in self._slabs:
            size = (len(cell.values), cell.z.size, *self._shape[1:])
            self._slabs[cell.z] = torch.empty(size, device=cell.values.device)
            self._missing[cell.z] = self._shape[1]
        self._slabs[cell.z][:, :, cell.y.start : cell.y.stop] = cell.values
        self._missing[cell.z] -= cell.y.size
        while (following := self._next()) is not None and not self._missing[following]:
            del self._missing[following]
            self._complete = following.stop

    def source(self, planes: slice) -> Source:
        """Return what some planes of the target read; earlier planes are let go."""
        needed = self.axes[0].needs(planes)
        for segment in [segment for segment in self._slabs if segment.stop <= needed.start]:
            del self._slabs[segment]
        pieces = list(self._pieces(needed))
        values = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
        return Source(values, (needed.start, 0), self.axes)

    def _next(self) -> Segment | None:
        return next((segment for segment in self._missing if segment.start == self._complete), None)

    def _pieces(self, needed: slice) -> Iterator[Tensor]:
        for segment in sorted(self._slabs, key=lambda item: item.start):
            first, stop = max(segment.start, needed.start), min(segment.stop, needed.stop)
            if first < stop:
                yield self._slabs[segment][:, first - segment.start : stop - segment.start]
