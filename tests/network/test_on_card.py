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


class Pretended:
    """What stands for a recording where there is no card: the work, done again on the shared arrays."""

    made = 0

    def __init__(self, work, shared):
        Pretended.made += 1
        self._work, self._shared = work, shared

    def __call__(self, array):
        self._shared.array.copy_(array)
        self._shared.result.copy_(self._work(self._shared.array))
        return self._shared.result.clone()


@pytest.fixture
def pretended(monkeypatch):
    """Recording as on a card, but for the graph itself."""

    def shared(array, result):
        return replayed._Shared(torch.empty_like(array), torch.empty_like(result), pool=None, stream=None)

    monkeypatch.setattr(replayed, "_shared", shared)
    monkeypatch.setattr(replayed, "_Graph", Pretended)
    monkeypatch.setattr(Pretended, "made", 0)


def test_a_shape_is_recorded_when_it_comes_again_and_results_are_not_overwritten(pretended):
    doubled = Replayed(lambda array: 2 * array)
    arrays = [torch.full((2, 3), float(value)) for value in range(4)]
    found = []
    for number, array in enumerate(arrays):
        found.append(doubled._on_card(array))
        assert Pretended.made == min(number, 1)
    assert all(torch.equal(result, 2 * array) for result, array in zip(found, arrays, strict=True))


def test_only_so_many_shapes_are_recorded(pretended):
    doubled = Replayed(lambda array: 2 * array)
    for _ in range(3):
        for size in range(1, 6):
            assert torch.equal(doubled._on_card(torch.ones(size)), torch.full((size,), 2.0))
    assert Pretended.made == replayed.MOST_SHAPES


@pytest.mark.parametrize("error", [RuntimeError("capturing"), torch.OutOfMemoryError("full")])
def test_what_cannot_be_recorded_is_worked_on_as_it_is_and_said_once(pretended, monkeypatch, caplog, error):
    def fails(*_arguments):
        raise error

    monkeypatch.setattr(replayed, "_Graph", fails)
    doubled = Replayed(lambda array: 2 * array)
    for _ in range(4):
        assert torch.equal(doubled._on_card(TILES), 2 * TILES)
    assert caplog.text.count("cannot be recorded") == 1


def test_recordings_are_gone_once_they_are_let_go(pretended):
    doubled = Replayed(lambda array: 2 * array)
    for _ in range(2):
        doubled._on_card(TILES)
    kept = weakref.ref(doubled._graphs[TILES.shape])
    replayed.let_go()
    gc.collect()
    assert kept() is None
    assert torch.equal(doubled._on_card(TILES), 2 * TILES)
    assert not doubled._graphs
