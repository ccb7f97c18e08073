"""What the roofline counts is what the network does."""

from __future__ import annotations

import dataclasses

import pytest
import roofline
import torch
from step_plans import HIPPOCAMPUS, LARGE, tiny, topology
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

_UNEVEN = Topology(
    dimension=3,
    input_channels=2,
    classes=5,
    features=(3, 6, 10),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
)
_CASES = [(_UNEVEN, (8, 16, 12), 3), (topology(tiny(LARGE)), (16, 16, 16), 2), (topology(HIPPOCAMPUS), (8, 16, 8), 1)]
_CONVOLUTIONS = (nn.Conv3d, nn.ConvTranspose3d)


@pytest.mark.parametrize(("shape", "patch", "batch"), _CASES)
def test_operations_are_those_of_torchs_own_counter(shape, patch, batch):
    network = UNet(shape).to_empty(device="meta")
    image = torch.empty((batch, shape.input_channels, *patch), device="meta")
    with FlopCounterMode(display=False) as counter:
        network(image)
    assert roofline.operations(roofline.forward_pass(shape, patch, batch, 4)) == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    step = roofline.training_step(shape, patch, batch, 4)
    assert roofline.operations(step) == counter.get_total_flops()


@pytest.mark.parametrize(("shape", "patch", "batch"), _CASES)
def test_bytes_of_convolutions_are_what_hooks_see(shape, patch, batch):
    network = UNet(shape).to_empty(device="meta")
    forward, backward = [], []
    first = next(module for module in network.modules() if isinstance(module, _CONVOLUTIONS))

    def count(module, inputs, output):
        forward.append(2 * (inputs[0].numel() + module.weight.numel() + output.numel()))
        into = 0 if module is first else inputs[0].numel() + output.numel()  # its gradient, and one more reading
        # Weights and input are read, the gradients of both written, that of the output read.
        backward.append(2 * (output.numel() + inputs[0].numel() + 2 * module.weight.numel() + into))

    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            module.register_forward_hook(count)
    network(torch.empty((batch, shape.input_channels, *patch), device="meta"))
    step = roofline.training_step(shape, patch, batch, 2)
    layers = [item for item in step if item.operations]
    assert sum(item.moved_bytes for item in layers if "backward" not in item.name) == sum(forward)
    assert sum(item.moved_bytes for item in layers if "backward" in item.name) == sum(backward)


def test_what_surrounds_the_convolutions_is_counted_as_stated():
    """By hand: one level below the first, one channel, 8 voxels of 2 and 1 voxel of 4 features, 2 classes, 2 bytes."""
    shape = Topology(
        dimension=3,
        input_channels=1,
        classes=2,
        features=(2, 4),
        strides=((1, 1, 1), (2, 2, 2)),
        kernels=((3, 3, 3),) * 2,
    )
    found = {item.name: item.moved_bytes for item in roofline.training_step(shape, (2, 2, 2), 1, 2)}
    assert found["down 0.0 norm"] == 3 * 16 * 2
    assert found["down 0.0 norm backward"] == 5 * 16 * 2
    assert found["up 0.0 join"] == 2 * 32 * 2
    assert found["up 0.0 join backward"] == 2 * 32 * 2
    assert found["loss"] == 5 * 16 * 2
    parameters = sum(parameter.numel() for parameter in UNet(shape).parameters())
    assert found["optimiser"] == 36 * parameters
    assert found["casts"] == 12 * parameters
    assert "casts" not in {item.name for item in roofline.training_step(shape, (2, 2, 2), 1, 4)}


def test_each_layer_is_bound_by_the_slower_of_its_two():
    busy = roofline.Work(name="a", operations=100, moved_bytes=1)
    heavy = roofline.Work(name="b", operations=1, moved_bytes=100)
    rates = roofline.Rates(operations_per_second=10, bytes_per_second=20)
    assert roofline.floor_seconds((busy, heavy), rates) == 10 + 5


def test_rates_are_measured_where_the_test_runs():
    rates = roofline.measure_rates("cpu", torch.float32, size=64, copied_bytes=2**16)
    assert min(dataclasses.astuple(rates)) > 0
