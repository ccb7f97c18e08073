"""The U-Net of a topology: two blocks a level, strided down, transposed up. Source: 2018 §2.1, 2019 §2.1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from nnbox.network.joining import joined
from nnbox.network.normact import normalized_rectified
from nnbox.network.stem import convolved, is_stem
from nnbox.randomness import generator
from nnbox.records.engine import NormKind
from nnbox.records.plan import Topology

NORM_EPSILON = 1e-5
NEGATIVE_SLOPE = 0.01


class InstanceNorm(nn.Module):
    """Instance normalisation with a learned scale and shift per feature map, eps 1e-5. Source: 2018 §2.1.

    On a CPU it runs as a group normalisation with one feature map per group: the same numbers, and torch has a kernel
    for it that is quick in either memory order (its instance normalisation copies channels-last arrays).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.weight = nn.Parameter(torch.empty(features, device="meta"))
        self.bias = nn.Parameter(torch.empty(features, device="meta"))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (batch, features, *space) over space."""
        if maps.device.type == "cpu":
            return F.group_norm(maps, self.features, self.weight, self.bias, NORM_EPSILON)
        return F.instance_norm(maps, weight=self.weight, bias=self.bias, eps=NORM_EPSILON)


class ConvBlock(nn.Module):
    """Padded convolution, instance normalisation, leaky rectifier (slope 0.01). Source: 2018 §2.1."""

    def __init__(self, channels: tuple[int, int], kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        padding = tuple(size // 2 for size in kernel)
        self.conv = _convolution(channels, kernel, stride, padding)
        self.norm = InstanceNorm(channels[1])
        self.norm_kind = NormKind.PLAIN

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channels[0], *space) to (batch, channels[1], *space / stride)."""
        if self.norm_kind is NormKind.PLAIN:
            return F.leaky_relu(self.norm(self.conv(maps)), NEGATIVE_SLOPE, inplace=True)
        norm = self.norm
        # On a card adding a bias is a pass of its own, forward and backward, and the normalisation takes it out again.
        maps = _without_bias(self.conv, maps) if self.norm_kind is NormKind.TRITON else self.conv(maps)
        return normalized_rectified(maps, (norm.weight, norm.bias), (NORM_EPSILON, NEGATIVE_SLOPE), self.norm_kind)


class UNet(nn.Module):
    """A U-Net with the levels, features, strides and kernels of a topology; no deep supervision.

    Attributes:
        kernels: join skip connections by Triton kernels.

    Level i of the decoder uses the kernel of level i of the encoder. A topology of one level (nothing pooled) is two
    blocks and a head.
    """

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        _check(topology)
        self.topology = topology
        self.kernels = False
        features, kernels, strides = topology.features, topology.kernels, topology.strides
        inputs = (topology.input_channels, *features[:-1])
        self.encoder = nn.ModuleList(
            nn.Sequential(ConvBlock((before, after), kernel, stride), ConvBlock((after, after), kernel, _ones(kernel)))
            for before, after, kernel, stride in zip(inputs, features, kernels, strides, strict=True)
        )
        shallow = range(len(features) - 1)
        self.up = nn.ModuleList(_upsampling((features[i + 1], features[i]), strides[i + 1]) for i in shallow)
        self.decoder = nn.ModuleList(
            nn.Sequential(
                ConvBlock((2 * features[i], features[i]), kernels[i], _ones(kernels[i])),
                ConvBlock((features[i], features[i]), kernels[i], _ones(kernels[i])),
            )
            for i in shallow
        )
        self.head = _head(topology)

    def forward(self, image: Tensor) -> Tensor:
        """Map (batch, input_channels, *patch) to logits (batch, classes, *patch).

        Raises:
            ValueError: the channels do not fit, or an axis is no multiple of its total stride.
        """
        self._check_input(image)
        maps, skips = image, []
        for level in self.encoder:
            maps = level(maps)
            skips.append(maps)
        for index in reversed(range(len(self.decoder))):
            maps = self.decoder[index](joined(skips[index], self.up[index](maps), kernels=self.kernels))
        logits: Tensor = self.head(maps)
        return logits

    def _check_input(self, image: Tensor) -> None:
        wanted = self.topology.dimension + 2
        if image.ndim != wanted or image.shape[1] != self.topology.input_channels:
            raise ValueError(
                f"the network takes (batch, {self.topology.input_channels}, {self.topology.dimension} spatial axes), "
                f"not an array of shape {tuple(image.shape)}"
            )
        for axis, (size, divisor) in enumerate(zip(image.shape[2:], total_strides(self.topology), strict=True)):
            if size % divisor:
                raise ValueError(f"spatial axis {axis} has {size} voxels; the network needs a multiple of {divisor}")


def choose_norm_kind(network: UNet, kind: NormKind) -> None:
    """Compute normalisation and rectifier of every block in one way; a new network computes them the plain way."""
    for module in network.modules():
        if isinstance(module, ConvBlock):
            module.norm_kind = kind


def total_strides(topology: Topology) -> tuple[int, ...]:
    """Return per axis the product of all strides: a patch size must be a multiple of it."""
    return tuple(math.prod(axis) for axis in zip(*topology.strides, strict=True))


def build_network(topology: Topology, seed: int) -> UNet:
    """Build a network on the CPU with weights that depend on the topology and the seed alone.

    Convolution weights are He-normal for the slope 0.01 (fan-in as torch counts it, also for transposed ones),
    biases 0, normalisation scales 1. Source: release.
    """
    network = UNet(topology).to_empty(device="cpu")
    rng = generator(seed, "weights")
    gain = math.sqrt(2.0 / (1.0 + NEGATIVE_SLOPE**2))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter.shape[1] * math.prod(parameter.shape[2:])
                values = rng.standard_normal(tuple(parameter.shape), dtype=np.float32)
                parameter.copy_(torch.from_numpy(values * np.float32(gain / math.sqrt(fan_in))))
            else:
                parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    return network


def _check(topology: Topology) -> None:
    levels = len(topology.features)
    if not levels or len(topology.strides) != levels or len(topology.kernels) != levels:
        raise ValueError("a topology needs as many strides and kernels as levels, and at least one level")
    sizes: Sequence[tuple[int, ...]] = (*topology.strides, *topology.kernels)
    if any(len(entry) != topology.dimension for entry in sizes):
        raise ValueError(f"every stride and kernel needs {topology.dimension} entries")
    if any(size % 2 == 0 for kernel in topology.kernels for size in kernel):
        raise ValueError("padded convolutions need odd kernels")


def _ones(kernel: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * len(kernel)


def _convolution(
    channels: tuple[int, int], kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]
) -> nn.Module:
    kind = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
    return kind(*channels, kernel, stride=stride, padding=padding, device="meta")  # type: ignore[arg-type]


def _without_bias(conv: nn.Module, maps: Tensor) -> Tensor:
    if is_stem(conv, maps):
        return convolved(maps, conv.weight)  # type: ignore[arg-type]
    if isinstance(conv, nn.Conv2d):
        return F.conv2d(maps, conv.weight, None, conv.stride, conv.padding)
    assert isinstance(conv, nn.Conv3d)
    return F.conv3d(maps, conv.weight, None, conv.stride, conv.padding)


def _upsampling(channels: tuple[int, int], stride: tuple[int, ...]) -> nn.Module:
    kind = nn.ConvTranspose2d if len(stride) == 2 else nn.ConvTranspose3d
    return kind(*channels, stride, stride=stride, bias=False, device="meta")  # type: ignore[arg-type]


def _head(topology: Topology) -> nn.Module:
    kind = nn.Conv2d if topology.dimension == 2 else nn.Conv3d
    return kind(topology.features[0], topology.classes, 1, bias=False, device="meta")
