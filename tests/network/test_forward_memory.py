"""The arithmetic of a forward pass: laws here; the measured comparison is in tests/stages/test_memory.py."""

from __future__ import annotations

import pytest
import torch

from nnbox.network.forward import Forward
from nnbox.network.forward_memory import answer_bytes, card_forward_bytes, forward_bytes, weights_bytes
from nnbox.network.unet import build_network
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision


def topology(features=(8, 16), classes=3):
    levels = len(features)
    return Topology(
        dimension=3,
        input_channels=1,
        classes=classes,
        features=features,
        strides=((1, 1, 1), *((2, 2, 2),) * (levels - 1)),
        kernels=((3, 3, 3),) * levels,
    )


def test_weights_are_what_the_network_has():
    network = build_network(topology(), seed=0)
    assert weights_bytes(topology()) == sum(4 * tensor.numel() for tensor in network.state_dict().values())


def test_an_answer_is_what_the_network_gives():
    with torch.no_grad():
        found = Forward(build_network(topology(), seed=0)).probabilities(torch.zeros((2, 1, 8, 8, 8)))
    assert answer_bytes(topology(), (8, 8, 8), 2) == found.numel() * found.element_size()


@pytest.mark.parametrize("count", [forward_bytes, lambda *size: card_forward_bytes(*size, Precision.BF16)])
def test_more_of_anything_never_needs_less_and_a_pass_holds_its_answer(count):
    least = count(topology(), (16, 16, 16), 1)
    assert least >= answer_bytes(topology(), (16, 16, 16), 1)
    for more in (
        count(topology(features=(16, 32)), (16, 16, 16), 1),
        count(topology(classes=50), (16, 16, 16), 1),
        count(topology(), (32, 16, 16), 1),
        count(topology(), (16, 16, 16), 2),
    ):
        assert more > least


def test_a_level_less_is_no_special_case():
    assert forward_bytes(topology(features=(8,)), (16, 16, 16), 1) > 0


def test_bf16_runs_on_any_processor_and_is_near_float32():
    network = build_network(topology(), seed=0)
    batch = torch.randn((1, 1, 16, 16, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        single, half = (Forward(network, kind).probabilities(batch) for kind in (Precision.FLOAT32, Precision.BF16))
    assert half.dtype == torch.float32
    assert 0 < (single - half).abs().max() < 0.05
