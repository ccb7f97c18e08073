"""Reading volumes at places between voxels: images by a third-order spline, labels by the largest linear share.

This is what batchgenerators' ``interpolate_img`` computes with orders 3 and 1, and 0 beyond the volume. Volumes have 2
or 3 axes. On a CPU points are read piece by piece into arrays that are used again: they stay in its cache, and asking
the system for memory would take longer than reading. There numpy compares and finds, which is quicker than torch.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from nnbox.training.around import SIXFOLD, Around, steps_in_memory
from nnbox.training.votes import LabelReader

PIECE_POINTS = 1 << 16
ASKED = frozenset({"cpu"})  # devices that are asked how many points lie where; for others the host would have to wait


def multiply_axes(volumes: Tensor, matrices: tuple[Tensor, ...]) -> Tensor:
    """Multiply every axis of (batch, channels, *space) with its matrix (batch, wanted, size)."""
    if volumes.device.type != "cpu":
        return multiply_axes_at_once(volumes, matrices)
    spare = None
    for axis, matrix in enumerate(matrices):
        before, after = volumes.shape[: axis + 2], volumes.shape[axis + 3 :]
        wanted = (*before, matrix.shape[1], *after)
        product = volumes.new_empty(wanted) if spare is None or spare.shape != wanted else spare
        for own, target, source in zip(matrix, product, volumes, strict=True):
            if after:
                # Views of one matrix for every block: nothing is copied, neither matrix nor volume.
                blocks = source.reshape(-1, own.shape[1], after.numel())
                torch.bmm(own.expand(len(blocks), -1, -1), blocks, out=target.view(len(blocks), own.shape[0], -1))
            else:
                torch.mm(source.reshape(-1, own.shape[1]), own.t(), out=target.view(-1, own.shape[0]))
        spare, volumes = (volumes if axis else None), product  # a product that is used up; never what was given
    return volumes


def multiply_axes_at_once(volumes: Tensor, matrices: tuple[Tensor, ...]) -> Tensor:
    """Do what `multiply_axes` does with one call per axis for the whole batch, which is less work for a card's host.

    The last axis is multiplied and becomes the first, until all have been the last: no matrix is copied for each plane.
    """
    count, channels = volumes.shape[:2]
    sizes = [channels]
    product = volumes.flatten(1)
    for matrix in reversed(matrices):
        product = torch.bmm(matrix, product.view(count, -1, matrix.shape[2]).transpose(1, 2)).flatten(1)
        sizes.insert(0, matrix.shape[1])
    return product.view(count, *sizes).movedim(-1, 1).contiguous()


def read_moved(
    images: Tensor, labels: tuple[Tensor, ...], places: Tensor, sizes: Tensor, *, kernels: bool = False
) -> tuple[Tensor, ...]:
    """Read images and label maps at the same places; 0 outside.

    Args:
        images: spline coefficients, float32 (batch, channels, *space), with `nnbox.training.banded.MARGIN` more at both
            ends of every axis; there may be no channels, then of any size.
        labels: integer maps (batch, slices, *space), with the same margins.
        places: float32 (batch, axes, points), in voxels of the volumes without margins.
        sizes: float32 (batch, axes), sizes of the volumes without margins; what is beyond them is padding.
        kernels: by Triton kernels, a launch for all samples, instead of torch calls.

    Returns:
        (batch, channels or slices, points) for images and for each of the label maps, of their types.
    """
    if kernels:
        from nnbox.training.reading_kernels import read_moved_by_kernels  # noqa: PLC0415 - Triton may not be there

        return read_moved_by_kernels(images, labels, places, sizes)
    steps, points = steps_in_memory((images, *labels)[-1].shape[2:]), places.shape[2]
    asked, length = places.device.type in ASKED, _piece_length(places)
    image, *maps = (volume.new_zeros((*volume.shape[:2], points)) for volume in (images, *labels))
    splines = _SplineReader(images, steps, length) if images.shape[1] else None
    readers = [LabelReader(*one, steps, asked=asked) for one in zip(labels, maps, strict=True)]
    ends = (sizes - 1).tolist() if asked else (sizes - 1).unsqueeze(2)
    for sample, some in itertools.product(range(len(places)), _pieces(points, length)):
        around = _around(places[sample, :, some], ends[sample], steps)
        if around is None:
            continue
        if splines is not None:
            splines.read(sample, around, image[sample, :, some])
        for reader in readers:
            reader.read(sample, around, some)
    for reader in readers:
        reader.let_vote(places, PIECE_POINTS)
    return image, *maps


def _around(places: Tensor, ends: list[float] | Tensor, steps: tuple[int, ...]) -> Around | None:
    """Find out where points of a sample lie.

    Args:
        places: (axes, points).
        ends: last voxel of each axis. As numbers: points outside are left out, and None is returned if all are. As a
            tensor (axes, 1): nothing is asked, and they are marked.
        steps: how far apart neighbours along each axis lie in memory.
    """
    if isinstance(ends, Tensor):
        within = torch.where(places >= 0, torch.minimum(places, ends), 0.0)  # also of what is no number
        return Around(within, steps, outside=(within != places).any(dim=0))
    inside = None
    for along, end in zip(places.numpy(), ends, strict=True):
        lowest, highest = along.min(), along.max()
        if highest < 0 or lowest > end:
            return None
        if not (lowest >= 0 and highest <= end):  # also where one is no number
            within = (along >= 0) & (along <= end)
            inside = within if inside is None else np.logical_and(inside, within, out=inside)
    if inside is None:
        return Around(places, steps)
    chosen = torch.from_numpy(np.flatnonzero(inside))
    return Around(places.index_select(1, chosen), steps, chosen=chosen) if len(chosen) else None


def _pieces(points: int, length: int) -> list[slice]:
    """Return ranges of points."""
    return [slice(first, first + length) for first in range(0, points, length)]


def _piece_length(places: Tensor) -> int:
    """Return how many points are read at a time: on a device all of them."""
    count = max(1, places.shape[2])
    return min(PIECE_POINTS, count) if places.device.type == "cpu" else count


class _SplineReader:
    """Sums over the 4^axes coefficients around points of a batch's images, axis within axis.

    After the last tap of an axis its sum becomes a term of the axis before it.
    """

    def __init__(self, images: Tensor, steps: tuple[int, ...], most: int) -> None:
        """Prepare for at most ``most`` points at a time in images (batch, channels, *space)."""
        self._taps = []
        flat, self._voxels = images.reshape(-1), images.shape[2:].numel()
        for chosen in itertools.product(range(4), repeat=len(steps)):
            offset = sum(tap * step for tap, step in zip(chosen, steps, strict=True))
            full = next((count for count, tap in enumerate(reversed(chosen)) if tap < 3), len(steps) - 1)
            terms = [(axis, chosen[axis]) for axis in range(len(steps) - 1, len(steps) - 2 - full, -1)]
            self._taps.append((flat[offset:], terms))
        self._first, self._scale = sum(steps), SIXFOLD ** -len(steps)
        self._sums, self._weights = flat.new_empty((len(steps) + 1, most)), flat.new_empty((5, len(steps), most))

    def read(self, sample: int, around: Around, targets: Tensor) -> None:
        """Write the sums at some points of a sample: coefficients from one before each point on, times their weights.

        Args:
            sample: of the batch.
            around: the points.
            targets: (channels, all points of the piece).
        """
        weights = around.spline_weights(self._weights)
        *sums, gathered = self._sums[:, : len(around.base)].unbind()
        for channel, target in enumerate(targets, start=sample * len(targets)):
            first = around.base + (channel * self._voxels - self._first)
            for moved, terms in self._taps:
                torch.index_select(moved, 0, first, out=gathered)
                term = gathered
                for axis, tap in terms:
                    if tap:
                        sums[axis].addcmul_(term, weights[axis][tap])
                    else:
                        torch.mul(term, weights[axis][0], out=sums[axis])
                    term = sums[axis]
            around.write(sums[0].mul_(self._scale), target)
