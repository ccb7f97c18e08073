"""The first convolution, of an image's few channels, by Triton kernels on a card.

cuDNN's 16-bit kernels multiply blocks of channels; of one channel they make eight, or fall back to a slow loop: on an
H200 that took as long as a convolution of 32 channels. An image needs no gradient, and none is computed. Source: own
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

MOST_TAPS = 128
"""Channels times kernel; with more there are channels enough for cuDNN."""
MOST_FEATURES = 64
_HALF = {torch.bfloat16, torch.float16}


def is_stem(conv: nn.Module, image: Tensor) -> bool:
    """Whether the kernels compute this convolution: of a 16-bit image without a gradient, unstrided, few channels."""
    if not isinstance(conv, nn.Conv2d | nn.Conv3d) or set(conv.stride) != {1}:
        return False
    if image.dtype not in _HALF or image.requires_grad:
        return False
    return conv.weight[0].numel() <= MOST_TAPS and conv.out_channels <= MOST_FEATURES


def convolved(image: Tensor, weight: Tensor) -> Tensor:
    """Return the padded convolution without a bias, features side by side in memory.

    Args:
        image: bf16 or fp16 (batch, channels, *space), which needs no gradient.
        weight: float32 or of the image's type, (features, channels, *kernel), odd sizes.
    """
    result: Tensor = _Stem.apply(image.contiguous(), weight)  # type: ignore[no-untyped-call]
    return result


class _Stem(Function):
    """Keeps the image and the weights."""

    @staticmethod
    def forward(ctx: FunctionCtx, image: Tensor, weight: Tensor) -> Tensor:
        """Return the features."""
        from nnbox.network import stem_kernels  # noqa: PLC0415 - Triton is only there where it is used

        ctx.save_for_backward(image, weight)
        return stem_kernels.convolve(image, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[None, Tensor]:
        """Return the gradient of the weights."""
        from nnbox.network import stem_kernels  # noqa: PLC0415

        image, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        dense = outer.movedim(1, -1).contiguous().movedim(-1, 1)
        return None, stem_kernels.weight_gradient(dense, image, weight).to(weight.dtype)
