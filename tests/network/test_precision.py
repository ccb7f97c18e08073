from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from nnbox.errors import ResourceError, UsageError
from nnbox.network.precision import autocast, choose_precision, half_type
from nnbox.records.precision import Precision, parse_precision


def test_a_cpu_computes_in_float32_unless_bf16_is_asked_for():
    assert choose_precision(Precision.AUTO, "cpu") is Precision.FLOAT32
    assert choose_precision(Precision.FLOAT32, "cpu") is Precision.FLOAT32
    assert choose_precision(Precision.BF16, "cpu") is Precision.BF16
    with pytest.raises(ResourceError, match="float32 or bf16"):
        choose_precision(Precision.FP16, "cpu")


@pytest.fixture
def cards(monkeypatch):
    """Make up cards: call with whether each computes in bf16; torch asks the current one."""
    current = [0]

    @contextmanager
    def device(wanted):
        current.append(torch.device(wanted).index)
        yield
        current.pop()

    def make_up(*has_bf16):
        monkeypatch.setattr(torch.cuda, "device", device)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16[current[-1]])

    return make_up


@pytest.mark.parametrize(
    ("has_bf16", "wanted", "found"),
    [
        (True, Precision.AUTO, Precision.BF16),
        (False, Precision.AUTO, Precision.FP16),
        (False, Precision.FLOAT32, Precision.FLOAT32),
        (True, Precision.FP16, Precision.FP16),
    ],
)
def test_a_card_computes_in_bf16_where_it_can(cards, has_bf16, wanted, found):
    cards(has_bf16)
    assert choose_precision(wanted, "cuda:0") is found


def test_the_card_that_is_meant_is_asked(cards):
    cards(True, False)
    assert choose_precision(Precision.AUTO, "cuda:0") is Precision.BF16
    assert choose_precision(Precision.AUTO, "cuda:1") is Precision.FP16


def test_a_card_without_bf16_says_so(cards):
    cards(True, False)
    with pytest.raises(ResourceError, match="fp16 or float32"):
        choose_precision(Precision.BF16, "cuda:1")


def test_convolutions_run_in_the_precision_and_weights_stay_single():
    layer = torch.nn.Conv3d(1, 2, 3)
    image = torch.zeros((1, 1, 4, 4, 4))
    for precision, kind in ((Precision.FLOAT32, torch.float32), (Precision.BF16, torch.bfloat16)):
        with autocast("cpu", precision):
            assert layer(image).dtype == kind
        assert half_type(precision) in {None, kind}
        assert layer.weight.dtype == torch.float32


def test_an_unknown_word_is_refused_with_the_known_ones():
    assert parse_precision("bf16") is Precision.BF16
    with pytest.raises(UsageError, match="auto, float32, bf16, fp16"):
        parse_precision("half")
