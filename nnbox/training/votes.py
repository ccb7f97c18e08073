"""Reading label maps at places between voxels: each point gets the label with the largest linear share around it."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from nnbox.training.around import Around


class LabelReader:
    """Reads label maps of a batch, slice by slice: the label with the largest share of the 2^axes voxels around.

    Where the device may be asked, the cells between voxels with one and the same label are found first, and only points
    in other cells are let vote, those of all samples together. How many these are a GPU cannot be asked without waiting
    for it, so there all points vote.
    """

    def __init__(self, labels: Tensor, result: Tensor, steps: tuple[int, ...], *, asked: bool) -> None:
        """Prepare.

        Args:
            labels: integers (batch, slices, *space), with margins.
            result: (batch, slices, points), written to; 0 where nothing is read.
            steps: how far apart neighbours along each axis of the space lie in memory.
            asked: whether the device is asked how many points have to vote.
        """
        corners = itertools.product((0, 1), repeat=len(steps))
        self._offsets = [sum(end * step for end, step in zip(ends, steps, strict=True)) for ends in corners]
        self._flat, self._result, self._steps = labels.reshape(-1), result, steps
        self._voxels = labels.shape[2:].numel()
        self._cells = _cells(labels.flatten(0, 1)).view(-1) if asked else None
        self._meeting: list[Tensor] = []

    def read(self, sample: int, around: Around, points: slice) -> None:
        """Write the labels at a range of a sample's points, or note which have to vote."""
        slices, whole = self._result.shape[1:]
        for number, target in enumerate(self._result[sample], start=sample * slices):
            base = around.base + number * self._voxels
            if self._cells is None:
                around.write(self._vote(around.part, base), target[points])
                continue
            found = self._cells.index_select(0, base)
            meeting = torch.from_numpy(np.flatnonzero(found.numpy() < 0))  # torch needs several times as long
            own = meeting if around.chosen is None else around.chosen[meeting]
            self._meeting.append(own + (points.start + number * whole))
            around.write(found.to(target.dtype), target[points])

    def let_vote(self, places: Tensor, most: int) -> None:
        """Write the labels at the points that were noted, whatever sample and slice they are of.

        Args:
            places: (batch, axes, points).
            most: how many vote at a time, which bounds the memory for it.
        """
        if not self._meeting:
            return
        slices, whole = self._result.shape[1:]
        axes, flat = places.shape[1], places.reshape(-1)
        for meeting in torch.split(torch.cat(self._meeting), most):
            number = meeting.div(whole, rounding_mode="floor")
            point = meeting - number * whole
            point += number.div(slices, rounding_mode="floor") * (axes * whole)
            own = torch.stack([flat.index_select(0, point + axis * whole) for axis in range(axes)])
            around = Around(own, self._steps)
            self._result.view(-1)[meeting] = self._vote(around.part, around.base.add_(number, alpha=self._voxels))

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
    """Return for each voxel of (maps, *space) the label that it and its 2^axes - 1 successors share, or -1."""
    low = high = labels if labels.dtype.is_signed else labels.to(torch.int16)
    for axis in range(1, labels.ndim):
        count = low.shape[axis] - 1
        low, high = (
            extreme(bound.narrow(axis, 0, count), bound.narrow(axis, 1, count))
            for bound, extreme in ((low, torch.minimum), (high, torch.maximum))
        )
    found = torch.full(labels.shape, -1, dtype=low.dtype, device=labels.device)
    found[tuple(slice(size) for size in low.shape)] = torch.where(low == high, low, -1)
    return found
