"""Instance normalisation and leaky rectifier as one operation, forward and backward. Source: 2018 §2.1.

Apart, the two read and write every feature map several times, and a step waits for memory more than for arithmetic.
On CUDA the Triton kernels of `nnbox.network.kernels` read the maps twice and write them once in the forward pass, and
read maps and gradient twice and write once in the backward pass. Everywhere else, and on CUDA where the kernels do not
run, their twin does the same with ordinary torch calls: on a CPU on pieces that stay in the processor's cache, on a GPU
sample by sample. All sums are float32, whatever the type of the maps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from nnbox.network.pieces import Piece, channels_last, pieces, rows
from nnbox.records.engine import NormKind


def normalized_rectified(
    maps: Tensor, scale_shift: tuple[Tensor, Tensor], constants: tuple[float, float], kind: NormKind
) -> Tensor:
    """Normalise (batch, features, *space) over space, scale and shift each feature map, and rectify.

    Args:
        maps: float32, bf16 or fp16, in either memory order; the result has its type and order.
        scale_shift: float32 (features,) each.
        constants: epsilon of the normalisation and slope of the rectifier below 0.
        kind: ``TWIN`` or ``TRITON``.
    """
    result: Tensor = _Fused.apply(maps, *scale_shift, constants, kind)  # type: ignore[no-untyped-call]
    return result


class _Fused(Function):
    """Keeps the maps, the mean and inverse sd of each, and (the twin) the result, which the next layer keeps anyway."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, maps: Tensor, scale: Tensor, shift: Tensor, constants: tuple[float, float], kind: NormKind
    ) -> Tensor:
        """Return the normalised and rectified maps."""
        maps = maps if channels_last(maps) else maps.contiguous()
        ctx.constants, ctx.kind = constants, kind  # type: ignore[attr-defined]
        if kind is NormKind.TRITON:
            from nnbox.network import kernels  # noqa: PLC0415 - Triton is only there where it is used

            result, *moments = kernels.forward(maps, (scale, shift), constants)
            ctx.save_for_backward(maps, scale, shift, *moments)
        else:
            result, *moments = _forward(maps, scale, shift, constants)
            ctx.save_for_backward(maps, scale, result, *moments)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients of maps, scale and shift."""
        maps, scale, third, *moments = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = ctx.constants[1]  # type: ignore[attr-defined]
        outer = _in_order_of(outer, maps)
        if ctx.kind is NormKind.TRITON:  # type: ignore[attr-defined]
            from nnbox.network import kernels  # noqa: PLC0415

            gradients = kernels.backward(outer, maps, (scale, third), tuple(moments), slope)
        else:
            gradients = _backward((outer, third, maps), scale, tuple(moments), slope)
        return *gradients, None, None


def _in_order_of(values: Tensor, maps: Tensor) -> Tensor:
    if channels_last(maps):
        return values.movedim(1, -1).contiguous().movedim(-1, 1)
    return values.contiguous()


def _forward(
    maps: Tensor, scale: Tensor, shift: Tensor, constants: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and (batch, features) mean and inverse sd.

    Torch's group normalisation is used where it is right and quick: for maps in planes on a CPU. Of channels-last maps
    it loses digits there (1e-4 of the result at 40x56x40 voxels, 2e-3 at 96x96x96); on a GPU it refuses them, and 16
    bit maps with float32 scale and shift.
    """
    if maps.device.type != "cpu" or channels_last(maps):
        return _forward_in_pieces(maps, scale, shift, constants)
    samples, features = maps.shape[:2]
    result, mean, inverse_sd = torch.native_group_norm(
        maps, scale, shift, samples, features, maps[0, 0].numel(), features, constants[0]
    )
    return F.leaky_relu_(result, constants[1]), mean.float(), inverse_sd.float()


def _forward_in_pieces(
    maps: Tensor, scale: Tensor, shift: Tensor, constants: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    result = torch.empty_like(maps)
    view, target = rows(maps), rows(result)
    cut = pieces(view)
    mean, inverse_sd = _moments(view, cut, constants[0])
    factor = scale * inverse_sd
    constant = shift - mean * factor
    for piece in cut:
        scaled = torch.addcmul(constant[piece[0]], view[piece].float(), factor[piece[0]])
        target[piece] = F.leaky_relu_(scaled, constants[1])
    return result, mean, inverse_sd


def _moments(view: Tensor, cut: list[Piece], epsilon: float) -> tuple[Tensor, Tensor]:
    """Return float32 (batch, features) mean and inverse sd of (batch, voxels, features).

    Sums are float32 within a piece, of values from which a near mean is taken, and float64 over pieces.
    """
    near = view[:, : cut[0][1].stop].float().mean(dim=1)
    totals = torch.zeros((2, *near.shape), dtype=torch.float64, device=view.device)
    for piece in cut:
        centred = view[piece].float() - near[piece[0]]
        totals[0, piece[0]] += centred.sum(dim=0)
        totals[1, piece[0]] += centred.square_().sum(dim=0)
    offset, square = totals / view.shape[1]
    inverse_sd = torch.rsqrt((square - offset**2).clamp_(min=0) + epsilon)
    return (near + offset).float(), inverse_sd.float()


def _backward(
    arrays: tuple[Tensor, Tensor, Tensor], scale: Tensor, moments: tuple[Tensor, ...], slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of maps, scale and shift from (outer gradient, result, maps).

    With z = (x - m) r and t the gradient of the rectifier's input s z + b, the maps' gradient is
    s r (t - mean(t) - z mean(t z)), means over space: per feature map a weighted sum of t, x and 1.
    """
    outer, result, maps = (rows(array) for array in arrays)
    mean, inverse_sd = moments
    gradient = torch.empty_like(arrays[2])
    target = rows(gradient)
    voxels, cut = maps.shape[1], pieces(maps)
    sums = torch.zeros_like(mean)
    products = torch.zeros_like(sums)
    for piece in cut:
        passed = _passed(outer[piece], result[piece], slope)
        sums[piece[0]] += passed.sum(dim=0)
        products[piece[0]] += (maps[piece].float() - mean[piece[0]]).mul_(passed).sum(dim=0)
    products *= inverse_sd
    factor = scale * inverse_sd
    by_maps = -factor * inverse_sd * products / voxels
    constant = -factor * sums / voxels - by_maps * mean
    for piece in cut:
        at = piece[0]
        weighted = torch.addcmul(constant[at], maps[piece].float(), by_maps[at])
        target[piece] = weighted.addcmul_(_passed(outer[piece], result[piece], slope), factor[at])
    return gradient, products.sum(dim=0), sums.sum(dim=0)


def _passed(outer: Tensor, result: Tensor, slope: float) -> Tensor:
    """Return the float32 gradient of the rectifier's input."""
    passed: Tensor = torch.ops.aten.leaky_relu_backward(outer, result, slope, True)  # noqa: FBT003 - by the result
    return passed.float()
