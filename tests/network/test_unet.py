from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbox.network.unet import ConvBlock, build_network, total_strides
from nnbox.records.plan import Topology


def topology(dimension=3, levels=3, features=6, channels=2, classes=3, anisotropic=False) -> Topology:
    ones = (1,) * dimension
    strides = [ones] + [(2,) * dimension for _ in range(levels - 1)]
    kernels = [(3,) * dimension for _ in range(levels)]
    if anisotropic and levels > 1:
        strides[1] = (1, *strides[1][1:])
        kernels[0] = (1, *kernels[0][1:])
    return Topology(
        dimension=dimension,
        input_channels=channels,
        classes=classes,
        features=tuple(features * 2**level for level in range(levels)),
        strides=tuple(strides),
        kernels=tuple(kernels),
    )


@settings(max_examples=25, deadline=None)
@given(
    dimension=st.sampled_from([2, 3]),
    levels=st.integers(1, 4),
    anisotropic=st.booleans(),
    multiples=st.tuples(*[st.integers(1, 3)] * 3),
    channels=st.integers(1, 3),
    classes=st.integers(2, 4),
)
def test_logits_have_the_shape_of_the_patch_and_one_map_per_class(
    dimension, levels, anisotropic, multiples, channels, classes
):
    chosen = topology(dimension, levels, 3, channels, classes, anisotropic)
    size = [divisor * times for divisor, times in zip(total_strides(chosen), multiples, strict=False)]
    network = build_network(chosen, seed=0)
    with torch.no_grad():
        logits = network(torch.zeros((2, channels, *size)))
    assert logits.shape == (2, classes, *size)
    assert torch.isfinite(logits).all()


def test_a_network_without_pooling_is_two_blocks_and_a_head():
    network = build_network(topology(levels=1), seed=1)
    assert len(network.encoder) == 1
    assert len(network.decoder) == 0
    assert network(torch.zeros((1, 2, 3, 5, 7))).shape == (1, 3, 3, 5, 7)


def test_an_axis_that_the_strides_do_not_divide_is_refused_by_name():
    network = build_network(topology(levels=3), seed=1)
    with pytest.raises(ValueError, match="axis 1 has 10 voxels; the network needs a multiple of 4"):
        network(torch.zeros((1, 2, 8, 10, 8)))


def test_wrong_channels_or_dimensions_are_refused():
    network = build_network(topology(), seed=1)
    with pytest.raises(ValueError, match="takes"):
        network(torch.zeros((1, 1, 8, 8, 8)))
    with pytest.raises(ValueError, match="takes"):
        network(torch.zeros((1, 2, 8, 8)))


@pytest.mark.parametrize(
    "change",
    [{"strides": ((1, 1, 1),)}, {"kernels": ((3, 3),) * 3}, {"kernels": ((2, 3, 3),) * 3}, {"features": ()}],
)
def test_a_topology_that_does_not_fit_together_is_refused(change):
    with pytest.raises(ValueError, match=r"needs?"):
        build_network(dataclasses.replace(topology(levels=3), **change), seed=0)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_network(topology(), seed=5).state_dict()
    torch.manual_seed(2)
    again = build_network(topology(), seed=5).state_dict()
    other = build_network(topology(), seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_weights_are_he_normal_for_the_slope_and_biases_zero():
    weights = build_network(topology(features=40, levels=2), seed=3).state_dict()
    for name, values in weights.items():
        if values.ndim > 1 and values.numel() > 5000:
            expected = math.sqrt(2 / (1 + 0.01**2) / math.prod(values.shape[1:]))
            assert abs(float(values.std()) / expected - 1) < 0.03, name
            assert abs(float(values.mean())) < 0.05 * expected, name
        elif name.endswith("bias"):
            assert not values.any(), name
        elif name.endswith("norm.weight"):
            assert (values == 1).all(), name
    assert "head.bias" not in weights
    assert "up.0.bias" not in weights


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_a_block_is_convolution_then_instance_norm_then_leaky_rectifier(memory_format):
    rng = np.random.default_rng(0)
    block = ConvBlock((3, 4), (3, 1, 3), (2, 1, 1)).to_empty(device="cpu").double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(tuple(parameter.shape))))
    maps = torch.from_numpy(rng.standard_normal((2, 3, 6, 5, 4))).contiguous(memory_format=memory_format)
    convolved = F.conv3d(maps, block.conv.weight, block.conv.bias, stride=(2, 1, 1), padding=(1, 0, 1))
    mean = convolved.mean(dim=(2, 3, 4), keepdim=True)
    variance = convolved.var(dim=(2, 3, 4), keepdim=True, unbiased=False)
    per_map = (1, 4, 1, 1, 1)
    normal = (convolved - mean) / torch.sqrt(variance + 1e-5)
    normal = normal * block.norm.weight.view(per_map) + block.norm.bias.view(per_map)
    expected = torch.where(normal > 0, normal, 0.01 * normal)
    torch.testing.assert_close(block(maps), expected)


def test_every_parameter_gets_a_gradient():
    network = build_network(topology(), seed=0)
    rng = np.random.default_rng(1)
    image = torch.from_numpy(rng.standard_normal((2, 2, 8, 8, 8), dtype=np.float32))
    network(image).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
