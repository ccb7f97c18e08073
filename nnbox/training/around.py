"""Where points lie among the voxels of volumes with margins, and how much the coefficients around them weigh."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnbox.training.banded import MARGIN

SIXFOLD = 6  # weights are kept this many times as large, with whole coefficients; who sums divides by it for each axis


def steps_in_memory(shape: Sequence[int]) -> tuple[int, ...]:
    """Return how far apart neighbours along each axis of a contiguous volume lie."""
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
        """Return the weights of the four coefficients around a point, for each axis, `SIXFOLD` times as large.

        Args:
            into: float32 (5, axes, at least the points), overwritten; what is returned are parts of it.
        """
        first, second, third, last, square = into[..., : len(self.base)].unbind()
        torch.mul(self.part, self.part, out=square)
        torch.mul(square, self.part, out=last)
        torch.sub(1, self.part, out=third)
        torch.mul(third, third, out=first).mul_(third)
        torch.mul(last, 3, out=second).sub_(square, alpha=6).add_(4)
        torch.sub(SIXFOLD, first, out=third).sub_(second).sub_(last)
        return tuple(zip(*(weights.unbind() for weights in (first, second, third, last)), strict=True))
