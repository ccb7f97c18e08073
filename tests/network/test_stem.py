"""The first convolution by kernels, in Triton's interpreter: torch's convolution in float64 is the reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from nnbox.network import stem_kernels
from nnbox.network.pieces import channels_last
from nnbox.network.stem import convolved, is_stem
from nnbox.network.unet import build_network, choose_norm_kind
from nnbox.records.engine import NormKind
from nnbox.records.plan import Topology

# Odd sizes, one slice, fewer voxels than a tile and more than a share, features that are no power of two.
CASES = [
    ((2, 1, 5, 7, 6), (3, 3, 3), 6),
    ((1, 4, 6, 9, 11), (1, 3, 3), 32),
    ((2, 2, 13, 21), (3, 3), 30),
    ((1, 1, 10, 12, 11), (3, 1, 5), 16),
    ((2, 1, 1, 9, 9), (3, 3, 3), 8),
    ((1, 4, 5, 6, 7), (3, 3, 3), 33),
]


@pytest.mark.parametrize(("shape", "kernel", "features"), CASES)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_value_and_gradient_are_those_of_the_convolution(shape, kernel, features, kind, monkeypatch):
    monkeypatch.setattr(stem_kernels, "SHARE_TILES", 1)
    monkeypatch.setattr(stem_kernels, "MOST_SHARES", 3)
    random = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=random).to(kind)
    weight = torch.randn((features, shape[1], *kernel), generator=random).to(kind).float()
    outer = torch.randn((shape[0], features, *shape[2:]), generator=random).to(kind)
    wide = weight.double().requires_grad_()
    convolution = F.conv2d if len(kernel) == 2 else F.conv3d
    expected = convolution(image.double(), wide, None, 1, tuple(size // 2 for size in kernel))
    expected.backward(outer.double())
    own = weight.clone().requires_grad_()
    found = convolved(image, own)
    found.backward(outer)
    assert found.dtype == kind
    assert channels_last(found)
    largest = float(expected.detach().abs().max())
    off = float((found.detach().double() - expected.detach()).abs().max())
    assert off <= largest * (2**-7 if kind is torch.bfloat16 else 2**-10)  # the interpreter cuts digits off
    assert own.grad.dtype == torch.float32
    torch.testing.assert_close(own.grad.double(), wide.grad, atol=1e-3, rtol=1e-4)


def test_it_is_for_few_channels_in_16_bits_without_a_stride():
    image = torch.zeros((1, 1, 4, 4, 4), dtype=torch.bfloat16)
    assert is_stem(nn.Conv3d(1, 30, 3, padding=1), image)
    assert is_stem(nn.Conv3d(4, 32, 3, padding=1), image)
    assert not is_stem(nn.Conv3d(1, 30, 3, padding=1), image.float())
    assert not is_stem(nn.Conv3d(1, 30, 3, padding=1), image.clone().requires_grad_())
    assert not is_stem(nn.Conv3d(1, 30, 3, padding=1, stride=2), image)
    assert not is_stem(nn.Conv3d(5, 30, 3, padding=1), image)
    assert not is_stem(nn.Conv3d(1, 128, 3, padding=1), image)
    assert not is_stem(nn.ConvTranspose3d(1, 30, 3), image)


@pytest.mark.parametrize(("dimension", "features"), [(2, (8, 16)), (3, (4, 8))])
def test_a_network_of_few_features_gets_all_its_gradients(dimension, features):
    """Later convolutions may have as few channels, but need a gradient of what they read."""
    topology = Topology(
        dimension=dimension,
        input_channels=1,
        classes=3,
        features=features,
        strides=((1,) * dimension, (2,) * dimension),
        kernels=((3,) * dimension,) * 2,
    )
    image = torch.randn((1, 1, *(8,) * dimension), generator=torch.Generator().manual_seed(0)).half()
    found = []
    for kind in (NormKind.TWIN, NormKind.TRITON):
        network = build_network(topology, 0)
        choose_norm_kind(network, kind)
        with torch.autocast("cpu", torch.float16):
            logits = network(image)
        logits.float().square().mean().backward()
        found.append({name: item.grad for name, item in network.named_parameters() if not name.endswith("conv.bias")})
    for name, twin in found[0].items():
        assert torch.cosine_similarity(found[1][name].flatten(), twin.flatten(), dim=0) > 0.99, name
