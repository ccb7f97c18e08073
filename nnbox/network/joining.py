"""Skip connection and upsampled maps side by side: one pass forward, one backward. Source: 2018 §2.1 (concatenation).

Torch copies maps whose features lie side by side value by value, and hands each half of the gradient on as a view that
whoever reads it has to copy again. The kernels read and write whole rows, and both halves are arrays of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from nnbox.network.pieces import channels_last


def joined(skip: Tensor, below: Tensor, *, kernels: bool) -> Tensor:
    """Return (batch, features of both, *space) of two arrays of one type, (batch, features, *space) each.

    Args:
        skip: its features come first.
        below: what was upsampled.
        kernels: use the Triton kernels where features lie side by side in memory.
    """
    if kernels and channels_last(skip) and channels_last(below):
        result: Tensor = _Joined.apply(skip, below)  # type: ignore[no-untyped-call]
        return result
    return torch.cat((skip, below), dim=1)


class _Joined(Function):
    """Keeps nothing but the numbers of features."""

    @staticmethod
    def forward(ctx: FunctionCtx, skip: Tensor, below: Tensor) -> Tensor:
        """Return the joined maps."""
        from nnbox.network import joining_kernels  # noqa: PLC0415 - Triton is only there where it is used

        ctx.features = skip.shape[1], below.shape[1]  # type: ignore[attr-defined]
        return joining_kernels.join(skip, below)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of both."""
        from nnbox.network import joining_kernels  # noqa: PLC0415

        return joining_kernels.split(outer, ctx.features)  # type: ignore[attr-defined]
