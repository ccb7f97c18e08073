"""A card that is full while a time budget's costs are measured: less is asked of it, or the run ends with the numbers.

The error is torch's own, raised where a card would raise it; the networks compute on the CPU.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nnbox.inference.label_map import label_map
from nnbox.inference.predict import predict_case
from nnbox.network.device import CardFullError
from nnbox.records.events import read_events
from nnbox.stages import members, probing, probing_ending
from nnbox.stages.train import train


@pytest.fixture
def budgeted(tiny_options, monkeypatch):
    """A run that measures everything once."""
    monkeypatch.setattr(probing, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(probing, "_SHARE", 0.0)
    return replace(tiny_options, folds=(0,), epochs=None, iterations=None, time_budget_seconds=3600.0)


def card_of(samples, ask):
    """Return what answers only if so few samples are taken together and nothing is remembered."""

    def limited(asked, *more):
        effort = (asked if ask is predict_case else asked[0].window).effort
        if effort.samples > samples or effort.remember:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore that nobody needs")
        return ask(asked, *more)

    return limited


@pytest.mark.parametrize(("room", "ask"), [(members, predict_case), (probing_ending, label_map)])
def test_a_card_that_is_full_while_costs_are_measured_ends_the_run_with_the_numbers(
    budgeted, listener, monkeypatch, room, ask
):
    monkeypatch.setattr(room, ask.__name__, card_of(0, ask))
    with pytest.raises(CardFullError, match=r"smoke_\d+ \(.* voxels\) does not fit on the card") as caught:
        train(budgeted, listener)
    assert caught.value.exit_code == 5
    for words in ("Tried to allocate 20.00 GiB", "What to do", "--device cpu"):
        assert words in str(caught.value)
    assert "nobody needs" not in str(caught.value)
    assert not list(budgeted.output.rglob(".probe-*"))


class EnoughError(Exception):
    """Ends a run once its costs are measured."""


def test_a_card_that_is_nearly_full_is_measured_as_it_will_be_used(budgeted, listener, monkeypatch):
    def measured(*words):
        found.append(probing_ending.measure_ending(*words))
        raise EnoughError

    found = []
    monkeypatch.setattr(members, "predict_case", card_of(1, predict_case))
    monkeypatch.setattr(probing, "measure_ending", measured)
    with pytest.raises(EnoughError):
        train(budgeted, listener)
    assert found[0].asked["3d_fullres"] > 0
    told = [event.sentence for event in read_events(budgeted.output / "log.jsonl") if event.event == "card_full"]
    assert [sentence.rpartition(" with ")[2] for sentence in told] == ["one tile to a pass", "no answer remembered"]
