"""Reading volumes at places between voxels: images by a third-order spline, labels by the largest linear share.

This is what batchgenerators' ``interpolate_img`` computes with orders 3 and 1, and 0 beyond the volume. Volumes have 2
or 3 axes. On a CPU points are read piece by piece into arrays that are used again: they stay in its cache, and asking
the system for memory would take longer than reading.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from nnbox.training.banded import MARGIN

PIECE_POINTS = 1 << 15
NEVER_ASKED = frozenset({"cuda"})  # devices that the host does not wait for: how many points lie where, stays unknown


def multiply_axes(volumes: Tensor, matrices: tuple[Tensor, ...]) -> Tensor:
    """Multiply every axis of (batch, channels, *space) with its matrix (batch, wanted, size)."""
    if volumes.device.type != "cpu":
        return multiply_axes_at_once(volumes, matrices)
    for axis, matrix in enumerate(matrices):
        before, after = volumes.shape[: axis + 2], volumes.shape[axis + 3 :]
        product = volumes.new_empty((*before, matrix.shape[1], *after))
        for own, target, source in zip(matrix, product, volumes, strict=True):
            if after:
                # Views of one matrix for every block: nothing is copied, neither matrix nor volume.
                blocks = source.reshape(-1, own.shape[1], after.numel())
                torch.bmm(own.expand(len(blocks), -1, -1), blocks, out=target.view(len(blocks), own.shape[0], -1))
            else:
                torch.mm(source.reshape(-1, own.shape[1]), own.t(), out=target.view(-1, own.shape[0]))
        volumes = product
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
        images: spline coefficients, float32 (batch, channels, *space), with `MARGIN` more at both ends of every axis;
            there may be no channels.
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
    volumes = (images, *labels)
    found = tuple(volume.new_zeros((*volume.shape[:2], places.shape[2])) for volume in volumes)
    for sample in range(len(places)):
        own = tuple(volume[sample] for volume in volumes)
        _read_sample(own, places[sample], sizes[sample], tuple(result[sample] for result in found))
    return found


def _read_sample(volumes: tuple[Tensor, ...], places: Tensor, sizes: Tensor, results: tuple[Tensor, ...]) -> None:
    """Read the volumes of one sample: images first, then label maps, (channels, *space) each."""
    steps = _steps(volumes[-1].shape[1:])
    most = _piece_length(places) if len(volumes[0]) else 0  # points whose coefficients are read at a time
    images = _SplineReader(volumes[0], steps, most)
    maps = [_LabelReader(*one, steps) for one in zip(volumes[1:], results[1:], strict=True)]
    scratch = places.new_empty((5, len(steps), most))
    for points in _pieces(places):
        around = _around(places[:, points], sizes, steps)
        if around is None:
            continue
        weights = around.spline_weights(scratch) if most else ()
        for channel, target in enumerate(results[0]):
            around.write(images.read(channel, around.base, weights), target[points])
        for labels in maps:
            labels.read(around, points)
    for labels in maps:
        labels.let_vote(places)


def _around(places: Tensor, sizes: Tensor, steps: tuple[int, ...]) -> Around | None:
    """Find out where points lie; a CPU leaves those outside out (None: all of them), a GPU is not asked which."""
    last = sizes - 1
    if places.device.type in NEVER_ASKED:
        within = torch.minimum(places.clamp(min=0), last.unsqueeze(1))
        return Around(within, steps, outside=(within != places).any(dim=0))
    lowest, highest = places.amin(dim=1), places.amax(dim=1)
    if (lowest >= 0).logical_and_(highest <= last).all():
        return Around(places, steps)
    if (highest < 0).logical_or_(lowest > last).any():
        return None
    inside = (places >= 0).logical_and_(places <= last.unsqueeze(1)).unbind()
    chosen = torch.nonzero(functools.reduce(torch.logical_and, inside)).squeeze(1)  # all() takes twenty times as long
    return Around(places.index_select(1, chosen), steps, chosen=chosen) if len(chosen) else None


def _pieces(places: Tensor) -> Iterator[slice]:
    """Yield ranges of points."""
    length = _piece_length(places)
    for first in range(0, places.shape[1], length):
        yield slice(first, first + length)


def _piece_length(places: Tensor) -> int:
    """Return how many points are read at a time; on a GPU all."""
    count = max(1, places.shape[1])
    return min(PIECE_POINTS, count) if places.device.type == "cpu" else count


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    steps = [1]
    for size in reversed(shape[1:]):
        steps.append(steps[-1] * size)
    return tuple(reversed(steps))


class Around:
    """Where points lie among the voxels of a volume with margins.

    Attributes:
        base: place in memory of the voxel below each point.
        part: (axes, points) distance to that voxel, in [0, 1).
        chosen: which points these are; None: all.
        outside: points that were moved into the volume and stand for 0; None: there are none.
    """

    def __init__(
        self, within: Tensor, steps: tuple[int, ...], *, chosen: Tensor | None = None, outside: Tensor | None = None
    ) -> None:
        self.chosen, self.outside = chosen, outside
        self.part = within.frac()
        low = within.int()  # half as long as indices have to be: a window has fewer than 2^31 voxels
        base = low[-1] + MARGIN * sum(steps)
        for axis, step in enumerate(steps[:-1]):
            base.add_(low[axis], alpha=step)
        self.base = base.long()

    def write(self, values: Tensor, target: Tensor) -> None:
        """Write what was read at the points to their places."""
        if self.chosen is not None:
            target.index_copy_(0, self.chosen, values)
        elif self.outside is not None:
            torch.mul(values, self.outside.logical_not(), out=target)
        else:
            target.copy_(values)

    def spline_weights(self, into: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Weights of the four coefficients around a point, for each axis.

        Args:
            into: float32 (5, axes, at least the points), overwritten.
        """
        first, second, third, last, square = into[..., : len(self.base)].unbind()
        torch.mul(self.part, self.part, out=square)
        torch.mul(square, self.part, out=last).div_(6)
        torch.neg(self.part, out=third).add_(1)
        torch.mul(third, third, out=first).mul_(third).div_(6)
        torch.mul(last, 3, out=second).sub_(square).add_(2 / 3)
        torch.neg(first, out=third).add_(1).sub_(second).sub_(last)
        return tuple(zip(*(weights.unbind() for weights in (first, second, third, last)), strict=True))


class _SplineReader:
    """Sums over the 4^axes coefficients around points of a sample's images, axis within axis.

    After the last tap of an axis its sum becomes a term of the axis before it.
    """

    def __init__(self, images: Tensor, steps: tuple[int, ...], most: int) -> None:
        """Prepare for at most ``most`` points at a time in images (channels, *space)."""
        self._taps = []
        flat, self._voxels = images.reshape(-1), images.shape[1:].numel()
        for chosen in itertools.product(range(4), repeat=len(steps)) if len(images) else ():
            offset = sum(tap * step for tap, step in zip(chosen, steps, strict=True))
            full = next((count for count, tap in enumerate(reversed(chosen)) if tap < 3), len(steps) - 1)
            terms = [(axis, chosen[axis]) for axis in range(len(steps) - 1, len(steps) - 2 - full, -1)]
            self._taps.append((flat[offset:], terms))
        self._first = sum(steps)
        self._sums = flat.new_empty((len(steps) + 1, most))

    def read(self, channel: int, base: Tensor, weights: tuple[tuple[Tensor, ...], ...]) -> Tensor:
        """Return the sum at each point: coefficients from one before ``base`` on, times the axes' weights."""
        first = base + (channel * self._voxels - self._first)
        *sums, gathered = self._sums[:, : len(base)].unbind()
        for moved, terms in self._taps:
            torch.index_select(moved, 0, first, out=gathered)
            term = gathered
            for axis, tap in terms:
                if tap:
                    sums[axis].addcmul_(term, weights[axis][tap])
                else:
                    torch.mul(term, weights[axis][0], out=sums[axis])
                term = sums[axis]
        return sums[0]


class _LabelReader:
    """Reads a label map, slice by slice: the label with the largest linear share of the 2^axes voxels around a point.

    On a CPU the cells between voxels with one and the same label are found first, and only points in other cells are
    let vote, those of all slices together. How many these are a GPU cannot be asked without waiting for it, so there
    all points vote.
    """

    def __init__(self, labels: Tensor, result: Tensor, steps: tuple[int, ...]) -> None:
        """Prepare for labels (slices, *space); the result (slices, points) is written to."""
        corners = itertools.product((0, 1), repeat=len(steps))
        self._offsets = [sum(end * step for end, step in zip(ends, steps, strict=True)) for ends in corners]
        self._flat, self._result, self._steps = labels.reshape(-1), result, steps
        self._voxels = labels.shape[1:].numel()
        self._cells = None if labels.device.type in NEVER_ASKED else _cells(labels).reshape(-1)
        self._meeting: list[Tensor] = []

    def read(self, around: Around, points: slice) -> None:
        """Write the labels at a range of points, or note which have to vote."""
        whole = self._result.shape[1]
        for number, target in enumerate(self._result):
            base = around.base + number * self._voxels
            if self._cells is None:
                around.write(self._vote(around.part, base), target[points])
                continue
            found = self._cells.index_select(0, base)
            meeting = torch.nonzero(found < 0).squeeze(1)
            own = meeting if around.chosen is None else around.chosen[meeting]
            self._meeting.append(own + (points.start + number * whole))
            around.write(found.to(target.dtype), target[points])

    def let_vote(self, places: Tensor) -> None:
        """Write the labels at the points that were noted, whatever slice they are of."""
        meeting, whole = torch.cat(self._meeting) if self._meeting else places.new_empty(0).long(), places.shape[1]
        for first in range(0, len(meeting), PIECE_POINTS):
            some = meeting[first : first + PIECE_POINTS]
            around = Around(places.index_select(1, some % whole), self._steps)
            base = around.base.add_(some.div(whole, rounding_mode="floor"), alpha=self._voxels)
            self._result.view(-1)[some] = self._vote(around.part, base)

    def _vote(self, apart: Tensor, base: Tensor) -> Tensor:
        labels = [self._flat[offset:].index_select(0, base) for offset in self._offsets]
        shares = [torch.ones_like(apart[0])]
        for part in apart:
            shares = [before * weight for before in shares for weight in (1 - part, part)]
        totals = [share.clone() for share in shares]
        for one, other in itertools.combinations(range(len(labels)), 2):
            equal = (labels[one] == labels[other]).to(shares[0].dtype)
            totals[one].addcmul_(equal, shares[other])
            totals[other].addcmul_(equal, shares[one])
        best, found = totals[0], labels[0]
        for total, label in zip(totals[1:], labels[1:], strict=True):
            found = torch.where(total > best, label, found)
            best = torch.maximum(total, best)
        return found


def _cells(labels: Tensor) -> Tensor:
    """Return for each voxel of (slices, *space) the label that it and its 2^axes - 1 successors share, or -1."""
    low = high = labels if labels.dtype.is_signed else labels.to(torch.int16)
    for axis in range(1, labels.ndim):
        count = labels.shape[axis] - 1
        low, high = low.clone(), high.clone()
        for bound, extreme in ((low, torch.minimum), (high, torch.maximum)):
            here, next_to_it = bound.narrow(axis, 0, count), bound.narrow(axis, 1, count)
            here.copy_(extreme(here, next_to_it))
    return torch.where(low == high, low, -1)
