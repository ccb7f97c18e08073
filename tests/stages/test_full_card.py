"""A card that turns out to be full: less is asked of it, and the run ends with the numbers only when nothing is left.

The error is torch's own, raised where a card would raise it; the networks compute on the CPU.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from nnbox.imaging.io import read_labels
from nnbox.inference.label_map import label_map
from nnbox.inference.predict import predict_case
from nnbox.network.device import CardFullError
from nnbox.stages import ensemble, members
from nnbox.stages.options import PredictOptions, Until
from nnbox.stages.predict import predict
from nnbox.stages.train import train
from nnbox.synthesize.files import write_volume

MESSAGE = "CUDA out of memory. Tried to allocate 20.00 GiB."


@pytest.fixture
def options(make_model, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    values = np.random.default_rng(0).integers(1, 900, (10, 12, 14)).astype(np.int16)
    write_volume(images / "case_0.nii.gz", values, (2.0, 1.0, 1.5))
    model = make_model()
    return lambda name: PredictOptions(input=images, output=tmp_path / name, model=model, device="cpu", workers=0)


def _card_of(samples):
    """Return a label map that a card makes only if so few samples are taken together and nothing is remembered."""

    def limited(parts, shape):
        effort = parts[0].window.effort
        if effort.samples > samples or effort.remember:
            raise torch.OutOfMemoryError(f"{MESSAGE}\nmore that nobody needs to read")
        return label_map(parts, shape)

    return limited


def _warnings(folder):
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["event"] == "card_full"]


def test_less_is_asked_of_a_full_card_and_the_labels_are_the_same(options, listener, monkeypatch):
    wanted = read_labels(predict(options("plain"), listener)[0])[0]
    monkeypatch.setattr(ensemble, "label_map", _card_of(1))
    found = read_labels(predict(options("full"), listener)[0])[0]
    np.testing.assert_array_equal(found, wanted)
    told = _warnings(options("full").output)
    assert [entry["facts"]["held_back"][-1] for entry in told] == ["one tile to a pass", "no answer remembered"]
    assert all("case_0" in entry["sentence"] and "Tried to allocate 20.00 GiB" in entry["sentence"] for entry in told)
    assert "nobody needs" not in listener.text


def test_when_nothing_is_left_to_hold_back_the_error_has_the_numbers(options, listener, monkeypatch):
    monkeypatch.setattr(ensemble, "label_map", _card_of(0))
    with pytest.raises(CardFullError, match=r"case_0 \(10 x 12 x 14 voxels\)") as caught:
        predict(options("full"), listener)
    assert caught.value.exit_code == 5
    for words in ("Tried to allocate 20.00 GiB", "What to do", "--device cpu", "--exclude case_0", "GB are free"):
        assert words in str(caught.value)
    assert len(_warnings(options("full").output)) == 3
    assert not list(options("full").output.glob("predictions/*.nii.gz"))


def test_less_is_asked_of_a_card_that_is_full_when_validation_cases_are_predicted(tiny_options, listener, monkeypatch):
    def limited(window, volume):
        if window.effort.samples > samples or window.effort.remember:
            raise torch.OutOfMemoryError(f"{MESSAGE}\nmore that nobody needs to read")
        return predict_case(window, volume)

    monkeypatch.setattr(members, "predict_case", limited)
    options = dataclasses.replace(tiny_options, folds=(0,), until=Until.TRAIN)
    samples = 0
    with pytest.raises(CardFullError, match=r"does not fit on the card.*Tried to allocate 20.00 GiB.*--device cpu"):
        train(options, listener)
    assert not list(options.output.glob("validation/**/*.npz"))
    samples = 1
    before = len(_warnings(options.output))
    train(options, listener)
    assert len(list(options.output.glob("validation/**/*.npz"))) == 1
    held_back = [entry["facts"]["held_back"][-1] for entry in _warnings(options.output)[before:]]
    assert held_back == ["one tile to a pass", "no answer remembered"]
