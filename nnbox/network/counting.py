"""What a network costs, from its topology: parameters and multiply-adds. No torch here, which is slow to import."""

from __future__ import annotations

import math

from nnbox.records.plan import Topology


def parameter_count(topology: Topology) -> int:
    """Return the number of trained parameters of `nnbox.network.unet.UNet`."""
    features = topology.features
    inputs = (topology.input_channels, *features[:-1])
    total = topology.classes * features[0]
    for level, (before, after) in enumerate(zip(inputs, features, strict=True)):
        taps = math.prod(topology.kernels[level])
        total += taps * (before * after + after * after) + 2 * 3 * after  # bias, scale and shift of two blocks
        if level < len(features) - 1:
            total += math.prod(topology.strides[level + 1]) * features[level + 1] * after
            total += taps * (2 * after * after + after * after) + 2 * 3 * after
    return total


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
