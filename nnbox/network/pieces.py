"""Cutting feature maps into pieces that stay in a processor's cache while several operations work on them."""

from __future__ import annotations

from torch import Tensor

PIECE_VALUES = 1 << 17  # of float32: half a MB, so that a piece and what is made of it stay in L2

Piece = tuple[int, slice]


def channels_last(maps: Tensor) -> bool:
    """Whether the features of a voxel lie side by side in memory."""
    return maps.movedim(1, -1).is_contiguous()


def rows(maps: Tensor) -> Tensor:
    """View (batch, features, *space) as (batch, voxels, features), in either memory order, without copying."""
    if channels_last(maps):
        return maps.movedim(1, -1).flatten(1, -2)
    return maps.flatten(2).transpose(1, 2)


def pieces(view: Tensor) -> list[Piece]:
    """Return sample and voxels of each piece of a (batch, voxels, features) view; on a GPU a sample is one piece."""
    samples, voxels, features = view.shape
    length = max(1, PIECE_VALUES // features) if view.device.type == "cpu" else max(1, voxels)
    return [(sample, slice(first, first + length)) for sample in range(samples) for first in range(0, voxels, length)]
