"""One sweep of the window over a volume: complete cells of weighted class probabilities, one after the other.

What is not complete is all that is held; what is complete belongs to whoever takes it. Source: 2018 §2.4; 2019 §2.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnbox.geometry import Shape3
from nnbox.inference.accumulate import Cells, Finished
from nnbox.inference.passes import Answer, Effort, Passes
from nnbox.inference.tiles import axis_weights, summed_axis_weights
from nnbox.inference.volume import Volume
from nnbox.inference.walk import Corner, Walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How a configuration's networks see a volume.

    Attributes:
        answers: one per member.
        classes: of an answer.
        patch_size: tile size in voxels, working order; two entries for networks that see slices.
        mirror_axes: patch axes (0-based) that may be flipped; empty: no mirroring.
        device: where networks and sums lie.
        effort: what is done at once.
        halves: let sums rest in 16 bits.
    """

    answers: Sequence[Answer]
    classes: int
    patch_size: tuple[int, ...]
    mirror_axes: tuple[int, ...]
    device: torch.device
    effort: Effort = field(default_factory=Effort)
    halves: bool = False

    @property
    def is_flat(self) -> bool:
        """Whether the networks see slices across z."""
        return len(self.patch_size) == 2

    @property
    def patch_vox(self) -> Shape3:
        """The tile as a volume; that of a slice is one voxel thick."""
        z, y, x = (1, *self.patch_size) if self.is_flat else self.patch_size
        return z, y, x

    def sums(self, shape_vox: Shape3) -> tuple[NDArray[np.float32], ...]:
        """Return per axis what the weights of all tiles add up to: the factors that `sweep` leaves in its values."""
        found = []
        for size, patch in zip(shape_vox, self.patch_vox, strict=True):
            before = max(patch - size, 0) // 2
            found.append(summed_axis_weights(max(size, patch), patch)[before : before + size])
        return tuple(found)


def sweep(window: Window, volume: Volume, *, interpolated: tuple[bool, bool]) -> Iterator[Finished]:
    """Yield the complete cells of a volume, z outermost.

    Tiles overlap by half and are weighted by a Gaussian. Values are sums of weighted means over members and mirrored
    passes, float32; divided by the outer product of `Window.sums` they are probabilities.

    Args:
        window: how the networks see it.
        volume: what they see.
        interpolated: whether the cells' reader interpolates along z and y; then a cell brings its neighbour's edge.
    """
    walk = Walk(volume.shape_vox, window.patch_vox)
    cells = Cells(walk, window.classes, window.device, interpolated=interpolated, halves=window.halves)
    z, y, x = (torch.from_numpy(axis_weights(size)) for size in window.patch_vox)
    weights = torch.einsum("z,y,x->zyx", z, y, x).to(window.device)
    passes = Passes(window.answers, window.mirror_axes, window.effort, window.device)
    visits = [(corner, row) for row in walk.rows() for corner in walk.corners(row)]
    groups = [visits[at : at + passes.tiles_at_once] for at in range(0, len(visits), passes.tiles_at_once)]
    batches = (_batch(window, volume, [corner for corner, _ in group]) for group in groups)
    left = {row: len(walk.starts[2]) for row in walk.rows()}
    waiting = iter(groups)
    for means in passes.means(batches):  # no zip, which keeps what it gave until the next is there
        group = next(waiting)
        tiles = means.unsqueeze(2) if window.is_flat else means
        for (corner, row), tile in zip(group, tiles, strict=True):
            cells.add(corner, tile.mul_(weights))
            left[row] -= 1
            if not left[row]:
                yield from cells.complete(row)
        del means, tiles, tile  # or they would live until the next answer is there


def _batch(window: Window, volume: Volume, corners: Sequence[Corner]) -> Tensor:
    tiles = [volume.tile(corner, window.patch_vox) for corner in corners]
    batch = tiles[0][None] if len(tiles) == 1 else torch.stack(tiles)
    return batch.squeeze(2) if window.is_flat else batch
