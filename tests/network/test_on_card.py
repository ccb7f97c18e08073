"""What a card predicts with, here on a CPU, where nothing is replayed: the numbers, and that nothing stays behind."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from nnbox.network import replayed
from nnbox.network.on_card import CardForward
from nnbox.network.replayed import Replayed
from nnbox.network.unet import build_network
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision

TOPOLOGY = Topology(
    dimension=3,
    input_channels=2,
    classes=3,
    features=(6, 12),
    strides=((1, 1, 1), (2, 2, 2)),
    kernels=((3, 3, 3), (3, 3, 3)),
)
TILES = torch.randn((2, 2, 8, 8, 8), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("precision", "off"), [(Precision.FLOAT32, 0.0), (Precision.BF16, 0.05), (Precision.FP16, 0.01)]
)
def test_probabilities_are_those_of_the_network(precision, off):
    """Of one with biases, too, which the kernels leave out before a normalisation."""
    network = build_network(TOPOLOGY, 0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("conv.bias"):
                parameter.copy_(torch.linspace(-1, 1, len(parameter)))
        wanted = torch.softmax(network(TILES), dim=1)
        found = CardForward(network, torch.device("cpu"), precision).probabilities(TILES)
    assert found.dtype == torch.float32
    assert float((found - wanted).abs().max()) <= off
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, 8, 8, 8))


def test_nothing_keeps_a_network_that_nobody_asks_any_more():
    gc.disable()
    try:
        forward = CardForward(build_network(TOPOLOGY, 0), torch.device("cpu"), Precision.BF16)
        network = weakref.ref(forward._replayed._work.args[0])
        del forward
        assert network() is None
    finally:
        gc.enable()


def test_all_recordings_are_let_go_together():
    one, other = (Replayed(torch.neg) for _ in range(2))
    replayed.let_go()
    assert not (one._works or other._works)
    assert torch.equal(one(TILES), -TILES)
