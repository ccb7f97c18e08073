"""The forward pass alone, for prediction on a CPU: a network's own numbers with less work and less memory around them.

What differs from `nnbox.network.unet.UNet.forward`, which training uses:

* Convolutions are asked of oneDNN by name. Left to choose, torch takes a slow loop for small maps of a single sample.
* Normalisation and rectifier work in place, on pieces that stay in the cache. Their results are right to about 1e-6;
  torch's group normalisation of channels-last maps, which is as quick, is off by 3e-4 at 40x56x40 voxels and by 8e-3
  at 128x128x128.
* A skip connection is not concatenated: both halves are convolved and added, so the joined map never exists.
* Upsampling is one pointwise convolution; head and softmax are taken piece by piece into an array with classes first.

Maps are channels-last throughout. Every sum is made in an order that neither the size of the batch nor the number of
threads changes, so that the same tile gives the same bytes however the work is divided.
Source: own (arithmetic); the network is that of 2018 §2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnbox.network.precision import half_type
from nnbox.network.stretches import in_stretches
from nnbox.network.unet import NEGATIVE_SLOPE, NORM_EPSILON, ConvBlock, UNet
from nnbox.records.precision import Precision

PIECE_VALUES = 1 << 16  # float32 values of one piece: 256 KiB, so that a piece and its twin stay in the L2 cache


class Forward:
    """A `UNet` on the CPU, ready to predict.

    Attributes:
        classes: of the network's head.
    """

    def __init__(self, network: UNet, precision: Precision = Precision.FLOAT32) -> None:
        """Take over the weights.

        Args:
            network: on the CPU; its float32 weights are shared, not copied, except where ``precision`` is narrower.
            precision: of convolutions; all sums are float32.
        """
        self.classes = network.topology.classes
        self._kind = half_type(precision) or torch.float32
        self._format = torch.channels_last_3d if network.topology.dimension == 3 else torch.channels_last
        self._encoder = [[_Block(block, self._kind) for block in _blocks(level)] for level in network.encoder]
        self._decoder = [_Joint(_blocks(level), self._kind) for level in network.decoder]
        self._up = [_upsampling_weight(up, self._kind) for up in network.up]
        self._strides = network.topology.strides[1:]
        self._head = _weight(network.head).flatten(1)
        self._check = network._check_input

    def probabilities(self, batch: Tensor) -> Tensor:
        """Map (batch, channels, *patch) to float32 softmax (batch, classes, *patch), contiguous.

        Raises:
            ValueError: the channels do not fit, or an axis is no multiple of its total stride.
        """
        self._check(batch)
        maps = self._features(batch.to(self._kind).contiguous(memory_format=self._format))
        result = torch.empty((len(maps), self.classes, maps[0, 0].numel()))
        width = max(1, PIECE_VALUES // max(self.classes, maps.shape[1]))
        for rows, target in zip(_rows(maps), result, strict=True):
            self._answer(rows, target, width)
        return result.view(len(maps), self.classes, *maps.shape[2:])

    def _answer(self, rows: Tensor, target: Tensor, width: int) -> None:
        """Write the softmax of (voxels, features) into (classes, voxels), ``width`` voxels at a time."""

        def answer(pieces: range) -> None:
            for first in range(pieces.start * width, min(pieces.stop * width, len(rows)), width):
                scores = self._head @ rows[first : first + width].float().t()
                scores -= scores.amax(dim=0)
                scores.exp_()
                torch.div(scores, scores.sum(dim=0), out=target[:, first : first + width])

        in_stretches(answer, math.ceil(len(rows) / width))

    def _features(self, maps: Tensor) -> Tensor:
        skips = []
        for level in self._encoder:
            for block in level:
                maps = block(maps)
            skips.append(maps)
        skips.pop()
        for joint, weight, stride in zip(self._decoder[::-1], self._up[::-1], self._strides[::-1], strict=True):
            maps = _upsampled(maps, weight, stride)
            maps = joint(skips, maps)
        return maps


class _Block:
    """Convolution, instance normalisation, leaky rectifier."""

    def __init__(self, block: ConvBlock, kind: torch.dtype) -> None:
        convolution = cast(nn.Conv3d, block.conv)
        self.weight, self.bias = convolution.weight.to(kind), cast(Tensor, convolution.bias).to(kind)
        self.stride, self.padding = convolution.stride, cast(tuple[int, ...], convolution.padding)
        self.scale, self.shift = block.norm.weight, block.norm.bias

    def __call__(self, maps: Tensor) -> Tensor:
        return self.finished(_convolved(maps, self.weight, self.bias, self.stride, self.padding))

    def finished(self, maps: Tensor) -> Tensor:
        for rows in _rows(maps):
            _normalise_and_rectify(rows, self.scale, self.shift)
        return maps


class _Joint:
    """The two blocks of a decoder level; the first reads the skip connection and what comes from below."""

    def __init__(self, level: tuple[ConvBlock, ...], kind: torch.dtype) -> None:
        self.first, self.second = (_Block(block, kind) for block in level)
        half = self.first.weight.shape[1] // 2
        self.of_skip, self.of_below = self.first.weight[:, :half], self.first.weight[:, half:]

    def __call__(self, skips: list[Tensor], below: Tensor) -> Tensor:
        """Take the last of the skips, which is given up as soon as it is read."""
        stride, padding = self.first.stride, self.first.padding
        maps = _convolved(skips.pop(), self.of_skip, self.first.bias, stride, padding)
        maps += _convolved(below, self.of_below, None, stride, padding)
        del below
        return self.second(self.first.finished(maps))


def _blocks(level: nn.Module) -> tuple[ConvBlock, ...]:
    return tuple(block for block in level.children() if isinstance(block, ConvBlock))


def _weight(module: nn.Module) -> Tensor:
    return cast(Tensor, module.weight)


def _convolved(
    maps: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...]
) -> Tensor:
    form = torch.channels_last_3d if maps.ndim == 5 else torch.channels_last
    ones = (1,) * len(stride)
    if maps.dtype == torch.bfloat16 and not _has_onednn_bf16():
        # The numbers of a processor that has it: operands and result in 16 bits, sums in float32.
        wide = _convolved(maps.float(), weight.float(), None if bias is None else bias.float(), stride, padding)
        return wide.to(torch.bfloat16)
    if _has_onednn():
        result: Tensor = torch.ops.aten.mkldnn_convolution(maps, weight, bias, padding, stride, ones, 1)
    else:
        result = torch.convolution(maps, weight, bias, stride, padding, ones, False, (0,) * len(stride), 1)  # noqa: FBT003
    return result.contiguous(memory_format=form)


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _has_onednn_bf16() -> bool:
    return _has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _rows(maps: Tensor) -> list[Tensor]:
    """Return each sample of channels-last maps as (voxels, features), sharing memory."""
    return [sample.movedim(0, -1).reshape(-1, maps.shape[1]) for sample in maps]


def _normalise_and_rectify(rows: Tensor, scale: Tensor, shift: Tensor) -> None:
    """Normalise each column of (voxels, features) to mean 0 and sd 1, scale, shift and rectify it; in place.

    Sums are float32 within a piece, of values from which a column's first mean is taken, and float64 over pieces.
    """
    voxels, features = rows.shape
    height = max(1, min(voxels, PIECE_VALUES // features))
    near = rows[:height].float().mean(dim=0)
    parts = torch.split(rows, height)
    totals = torch.zeros((2, features), dtype=torch.float64)
    for sums in _piece_sums(parts, near):  # one after the other, whoever made them
        totals += sums
    offset, square = totals / voxels
    factor = scale.double() / torch.sqrt((square - offset**2).clamp_(min=0) + NORM_EPSILON)
    # An operand of the piece's own shape is read faster than one row that torch has to repeat.
    constant = (shift - (near + offset) * factor).float().expand(height, -1).contiguous()
    spread = factor.float().expand(height, -1).contiguous()

    def finish(numbers: range) -> None:
        piece = torch.empty((height, features))
        for part in parts[numbers.start : numbers.stop]:
            count = len(part)
            found = torch.addcmul(constant[:count], part.float(), spread[:count], out=piece[:count])
            part.copy_(F.leaky_relu_(found, NEGATIVE_SLOPE))

    in_stretches(finish, len(parts))


def _piece_sums(parts: Sequence[Tensor], near: Tensor) -> Tensor:
    """Return float64 (pieces, 2, features): the sums of a piece's columns, less ``near``, and of their squares."""
    height, features = parts[0].shape
    found = torch.zeros((len(parts), 2, features), dtype=torch.float64)
    spread = near.expand(height, -1).contiguous()

    def add_up(numbers: range) -> None:
        piece = torch.empty((height, features))
        for number in numbers:
            count = len(parts[number])
            centred = torch.sub(parts[number], spread[:count], out=piece[:count])
            found[number, 0] = centred.sum(dim=0)
            found[number, 1] = centred.square_().sum(dim=0)

    in_stretches(add_up, len(parts))
    return found


def _upsampling_weight(up: nn.Module, kind: torch.dtype) -> Tensor:
    """Return a transposed convolution whose kernel is its stride as a pointwise one: (kernel x features, below, 1…)."""
    weight = _weight(up).to(kind)
    matrix = weight.movedim(0, -1).movedim(0, -2).flatten(0, -2)
    return matrix.view(*matrix.shape, *(1,) * (weight.ndim - 2)).contiguous()


def _upsampled(maps: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Convolve and lay the kernel's voxels out in space: (N, below, *space) to (N, features, *(space x stride)).

    A plain matrix product would do, but its sums change with the number of threads on some processors.
    """
    space = maps.shape[2:]
    features = weight.shape[0] // math.prod(stride)
    axes = len(space)
    product = _convolved(maps, weight, None, (1,) * axes, (0,) * axes)
    parts = product.movedim(1, -1).view(len(maps), *space, *stride, features)
    pairs = [axis for pair in zip(range(1, axes + 1), range(axes + 1, 2 * axes + 1), strict=True) for axis in pair]
    spread = parts.permute(0, *pairs, 2 * axes + 1)
    sizes = [size * step for size, step in zip(space, stride, strict=True)]
    return spread.reshape(len(maps), *sizes, features).movedim(-1, 1)
