"""What a network costs, counted: parameters, feature-map elements, multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def parameter_count(topology: Topology) -> int:
    """Return the number of trained parameters."""
    return sum(parameter.numel() for parameter in UNet(topology).parameters())


def feature_elements(topology: Topology, patch_size: Sequence[int]) -> int:
    """Return the array elements of one sample that the planner's memory proxy speaks of, counted in a forward pass.

    Counted are the input and the output of every convolution, transposed ones and the head included: what
    normalisation and rectifier make of them is not counted again. Runs without arithmetic (torch's "meta" device).
    Source: 2019 §2.1.
    """
    network = UNet(topology)
    counts = [topology.input_channels * math.prod(patch_size)]

    def count(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.numel())

    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.empty((1, topology.input_channels, *patch_size), device="meta"))
    return sum(counts)


def operations_per_voxel(topology: Topology) -> float:
    """Return the multiply-adds of all convolutions per forward pass and voxel of the patch (padding included)."""
    features = topology.features
    shares = _voxel_shares(topology)
    inputs = (topology.input_channels, *features[:-1])
    total = 0.0
    for level, (before, after) in enumerate(zip(inputs, features, strict=True)):
        taps = math.prod(topology.kernels[level])
        total += shares[level] * taps * (before * after + after * after)
        if level < len(features) - 1:
            total += shares[level] * features[level + 1] * after  # each output voxel of the upsampling has one tap
            total += shares[level] * taps * (2 * after * after + after * after)
    return total + features[0] * topology.classes


def _voxel_shares(topology: Topology) -> list[float]:
    shares, share = [], 1.0
    for stride in topology.strides:
        share /= math.prod(stride)
        shares.append(share)
    return shares
