"""The optimiser of a training: Adam with the recipe's values, at the schedule's rate, on the plan's kind of loss."""

from __future__ import annotations

import copy
import csv
import dataclasses

import pytest
import torch

from nnbox.recipes import RECIPE_2018, RECIPE_2019
from nnbox.rules.schedule import first_state, next_state
from nnbox.training.draw import sampling_plan
from nnbox.training.learner import Learner
from nnbox.training.loop import train_fold
from nnbox.training.loss import segmentation_loss
from nnbox.training.sample import Sampler


def take_step(learner, batch, rate):
    loss = learner.gradients(batch)
    learner.step(rate)
    return loss


def _batches(job, count):
    sampler = Sampler(sampling_plan(job))
    return [sampler.batch(index) for index in range(count)]


def _tensors(batch):
    return torch.from_numpy(batch.image), torch.from_numpy(batch.labels).long()


@pytest.mark.parametrize("recipe", [RECIPE_2018, RECIPE_2019], ids=["2018", "2019"])
def test_steps_are_those_of_adam_with_the_recipes_weight_decay_and_amsgrad(job, recipe):
    job = dataclasses.replace(job, recipe=recipe)
    learner = Learner(job)
    network = copy.deepcopy(learner.network)
    # Written out: 2018 3e-4 without weight decay and amsgrad; 2019 3e-4 with 3e-5 and amsgrad.
    decay = 0.0 if recipe.name == "2018" else 3e-5
    adam = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=decay, amsgrad=recipe.name == "2019")
    for batch in _batches(job, 3):
        take_step(learner, batch, 1e-3)
        image, labels = _tensors(batch)
        adam.zero_grad()
        segmentation_loss(network(image), labels, batch_dice=False).backward()
        adam.step()
    for name, value in learner.weights().items():
        # A bias before a normalisation has no gradient but rounding, which Adam blows up.
        if not name.endswith("conv.bias"):
            torch.testing.assert_close(value, network.state_dict()[name], atol=2e-5, rtol=1e-4)
    assert any(name.endswith("max_exp_avg_sq") for name in learner.state()) == (recipe.name == "2019")
    assert learner._optimizer.param_groups[0]["weight_decay"] == decay
    assert first_state(recipe).rate == 3e-4


def test_the_rate_is_the_one_that_is_asked_for(job):
    job = dataclasses.replace(job, recipe=RECIPE_2018)
    learner = Learner(job)
    before = {name: value.clone() for name, value in learner.weights().items()}
    take_step(learner, _batches(job, 1)[0], 0.0)
    assert all(torch.equal(value, before[name]) for name, value in learner.weights().items())
    take_step(learner, _batches(job, 1)[0], 1e-3)
    assert any(not torch.equal(value, before[name]) for name, value in learner.weights().items())


@pytest.mark.parametrize("batch_dice", [True, False])
def test_the_dice_is_of_the_kind_the_plan_says(job, tiny, batch_dice):
    configuration = tiny.configuration(batch_dice=batch_dice)
    job = dataclasses.replace(job, configuration=configuration, plan=tiny.plan(configuration))
    learner = Learner(job)
    batch = _batches(job, 1)[0]
    image, labels = _tensors(batch)
    with torch.no_grad():
        logits = learner.network(image)
    expected = float(segmentation_loss(logits, labels, batch_dice=batch_dice))
    other = float(segmentation_loss(logits, labels, batch_dice=not batch_dice))
    assert abs(expected - other) > 1e-4
    assert float(learner.validate(batch)[0]) == pytest.approx(expected, abs=1e-5)
    assert float(take_step(learner, batch, 1e-3)) == pytest.approx(expected, abs=1e-5)


def test_the_rate_of_every_epoch_and_the_end_follow_the_schedule(job):
    # Every epoch after the first is bad and drops the rate, until it is below 1e-6.
    recipe = dataclasses.replace(RECIPE_2019, rate_patience_epochs=0, rate_threshold=100.0)
    job = dataclasses.replace(job, recipe=recipe, epochs=20, iterations=1)
    result = train_fold(job, report=lambda _record: None)
    with (job.folder / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    state, rates = first_state(job.schedule), []
    for row in rows:
        rates.append(state.rate)
        state = next_state(state, job.schedule, float(row["training_loss"]), float(row["validation_loss"]))
    assert [float(row["rate"]) for row in rows] == pytest.approx(rates)
    assert rates == pytest.approx([3e-4, 3e-4, 6e-5, 1.2e-5, 2.4e-6])
    assert result.stopped_by == state.finished
    assert result.stopped_by.startswith("rate:")
