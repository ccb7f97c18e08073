"""The array elements that the planner's memory proxy speaks of, counted in the network itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


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
