"""Prediction on the card: the labels of the CPU, in every precision; only labels come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from step_plans import made_up, topology

from nnbox.inference.label_map import Part, label_map
from nnbox.inference.predict import open_window
from nnbox.inference.volume import Volume
from nnbox.network.precision import autocast
from nnbox.network.replayed import let_go
from nnbox.network.unet import build_network
from nnbox.records.precision import Precision

SHAPE = (60, 50, 44)


@pytest.fixture(scope="module")
def volume(plan):
    return Volume(made_up(SHAPE, plan.classes, 0)[0])


def labels_of(plan, volume, device, precision, target=SHAPE, members=2):
    networks = [build_network(topology(plan), seed).to(device).eval() for seed in range(members)]
    window = open_window(networks, plan.patch, (0, 1, 2), device, precision)
    return label_map([Part(window, volume, None)], target)


# Shares of voxels; the network is random, and its classes close to each other.
@pytest.mark.parametrize(
    ("precision", "share"), [(Precision.FLOAT32, 1e-4), (Precision.BF16, 0.05), (Precision.FP16, 0.01)]
)
@pytest.mark.parametrize("target", [SHAPE, (75, 50, 66)])
def test_labels_are_those_of_the_cpu(plan, volume, precision, share, target):
    expected = labels_of(plan, volume, "cpu", Precision.FLOAT32, target)
    found = labels_of(plan, volume, "cuda:0", precision, target)
    assert len(np.unique(expected)) == plan.classes
    assert float((found != expected).mean()) <= share


def test_the_same_case_gets_the_same_labels_again(plan, volume):
    first, second = (labels_of(plan, volume, "cuda:0", Precision.BF16) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_networks_are_left_as_they_were(plan, volume):
    network = build_network(topology(plan), 0).to("cuda:0").eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    label_map([Part(open_window([network], plan.patch, (), "cuda:0", Precision.BF16), volume, None)], SHAPE)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])


def test_a_replayed_pass_is_the_pass(plan):
    """The first batch of a shape is worked on as it is, the second recorded, the third replayed."""
    answer = open_window(
        [build_network(topology(plan), 0).to("cuda:0")], plan.patch, (), "cuda:0", Precision.BF16
    ).answers[0]
    tiles = [torch.randn((2, 1, *plan.patch), device="cuda:0") for _ in range(3)]
    with torch.no_grad():
        again = [answer(tile) for tile in (*tiles, *tiles)]
    for first, second in zip(again[:3], again[3:], strict=True):
        assert torch.equal(first, second)
    assert not torch.equal(again[0], again[1])


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_a_pass_is_that_of_the_network_under_autocast(plan, precision):
    network = build_network(topology(plan), 0).to("cuda:0").eval()
    tiles = torch.randn((2, 1, *plan.patch), device="cuda:0")
    answer = open_window([network], plan.patch, (), "cuda:0", precision).answers[0]
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = answer(tiles)
        with autocast("cuda:0", precision):
            wanted = torch.softmax(network(tiles).float(), dim=1)
    off = {Precision.FLOAT32: 1e-4, Precision.BF16: 0.05, Precision.FP16: 0.01}[precision]
    assert float((found - wanted).abs().max()) <= off


def test_a_pass_is_the_same_once_recordings_are_let_go(plan):
    network, tiles = build_network(topology(plan), 0).to("cuda:0"), torch.randn((2, 1, *plan.patch), device="cuda:0")
    answer = open_window([network], plan.patch, (), "cuda:0", Precision.BF16).answers[0]
    with torch.no_grad():
        before = [answer(tiles) for _ in range(3)][-1]
        let_go()
        assert torch.equal(answer(tiles), before)
