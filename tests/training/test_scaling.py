"""fp16's loss scaling: as torch's, but never for ever: at the smallest scale an overflow counts as a breakdown's."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nnbox.records.engine import EngineWishes
from nnbox.records.precision import Precision
from nnbox.rules.steadiness import FIRST_SCALE, LARGEST_SCALE, SCALE_STEPS, SMALLEST_SCALE
from nnbox.training.checkpoint import LossScaling
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.learner import Learner
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, Setback
from nnbox.training.sample import Sampler
from nnbox.training.scaling import LossScale

HALVINGS = int(np.log2(FIRST_SCALE / SMALLEST_SCALE))


@pytest.fixture
def in_fp16(job, monkeypatch):
    """The job in fp16, which a CPU otherwise refuses since it is slow there."""
    monkeypatch.setattr("nnbox.training.engine.choose_precision", lambda wanted, _device: wanted)
    return dataclasses.replace(job, engine=EngineWishes(precision=Precision.FP16))


@pytest.fixture
def overflowing(monkeypatch):
    """Gradients that overflow at every scale, of a loss that is a number."""
    original = LossScale.backward

    def backward(self, loss, parameters):
        parameters = list(parameters)
        original(self, loss, parameters)
        parameters[0].grad.fill_(torch.inf)

    monkeypatch.setattr(LossScale, "backward", backward)


def test_the_scale_follows_as_torchs_own():
    weight = torch.ones((), requires_grad=True)
    torchs = torch.amp.GradScaler("cpu", growth_interval=SCALE_STEPS)
    ours, optimizer = LossScale("cpu"), torch.optim.SGD([weight], lr=0.0)
    sound = np.random.default_rng(1).random(2 * SCALE_STEPS + 500) > 0.0003
    assert 0 < (~sound).sum() < 5
    for fine in sound.tolist():
        factor = torch.tensor(1.0 if fine else torch.inf)
        torchs.scale(weight * factor).backward()
        torchs.step(optimizer)
        torchs.update()
        weight.grad = None
        ours.follow(torch.tensor(fine))
        assert ours.state().scale == torchs.get_scale()
    assert ours.state().growth_steps == torchs.state_dict()["_growth_tracker"]


def test_the_scale_stays_within_its_bounds():
    scale = LossScale("cpu")
    for _ in range(2 * HALVINGS):
        scale.follow(torch.tensor(False))
    assert scale.state() == LossScaling(scale=SMALLEST_SCALE, growth_steps=0)
    scale.load(LossScaling(scale=LARGEST_SCALE, growth_steps=SCALE_STEPS - 1))
    scale.follow(torch.tensor(True))
    assert scale.state() == LossScaling(scale=LARGEST_SCALE, growth_steps=0)
    scale.load(LossScaling(scale=2.0**-140, growth_steps=3))
    assert scale.state() == LossScaling(scale=SMALLEST_SCALE, growth_steps=3)


@pytest.mark.parametrize("exponent", [0, 10, 24])
def test_gradients_are_those_of_the_loss_itself_to_the_bit(exponent):
    scale, values = LossScale("cpu"), torch.randn(50, generator=torch.Generator().manual_seed(0))
    scale.load(LossScaling(scale=2.0**exponent, growth_steps=0))
    weight, plain = (values.clone().requires_grad_() for _ in range(2))
    (plain**3).sum().backward()
    scale.backward((weight**3).sum(), [weight])
    assert torch.equal(weight.grad, plain.grad)


@pytest.mark.parametrize("fused", [True, False])
def test_an_overflow_is_excused_while_a_smaller_scale_may_help_and_always_left_out(job, overflowing, fused):
    engine = dataclasses.replace(settle_engine(job), precision=Precision.FP16, fused_adam=fused)
    learner, batch = Learner(job, engine), Sampler(sampling_plan(job)).batch(0)
    before = {name: tensor.clone() for name, tensor in learner.weights().items()}
    losses = []
    for _ in range(HALVINGS + 2):
        losses.append(learner.judge(learner.gradients(batch)))
        learner.step(1e-3)
    assert torch.isfinite(torch.stack(losses)).tolist() == [True] * HALVINGS + [False] * 2
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.weights().items())
    assert learner.loss_scaling == LossScaling(scale=SMALLEST_SCALE, growth_steps=0)


def test_a_training_whose_gradients_always_overflow_goes_back_and_on_in_float32(in_fp16, overflowing):
    heard = listen_to(dataclasses.replace(in_fp16, iterations=40, epochs=2))
    (setback,) = heard.setbacks
    assert "in epoch 1" in setback
    assert "10 of them in a row" in setback
    assert "once more in float32 from the last saved state, at the start" in setback
    assert [record.left_out for record in heard.epochs] == [0, 0]
    assert np.isfinite(heard.result.loss_last)


def test_overflows_over_short_epochs_are_found_out_too(in_fp16, overflowing):
    """An epoch of twelve steps ends before the scale is at its smallest; the next one goes on with it."""
    heard = listen_to(dataclasses.replace(in_fp16, iterations=12, epochs=4))
    (setback,) = heard.setbacks
    assert "in epoch 3" in setback
    assert [record.epoch for record in heard.epochs] == [1, 2, 3, 4]


def test_intensities_beyond_fp16_are_trained_in_float32(in_fp16, store, tmp_path):
    """Nothing is simulated here: 1e6 is no number in fp16, and one in float32."""
    large = tmp_path / "large"
    large.mkdir()
    for path in store.iterdir():
        (large / path.name).write_bytes(path.read_bytes())
    for path in large.glob("*.image.npy"):
        np.save(path, 1e6 * np.load(path))
    heard = listen_to(dataclasses.replace(in_fp16, store=large, iterations=12, epochs=2))
    assert len(heard.setbacks) == 1
    assert np.isfinite(heard.result.loss_last)


def listen_to(job):
    """Train; return the result, and what was told of setbacks and epochs."""
    told = []
    result = train_fold(job, report=told.append)
    return SimpleNamespace(
        result=result,
        setbacks=[news.sentence for news in told if isinstance(news, Setback)],
        epochs=[news for news in told if isinstance(news, EpochRecord)],
    )
