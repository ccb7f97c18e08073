"""Steps that are not finite are left out; many in a row mean going back, in float32, and at last an end in words."""

from __future__ import annotations

import csv
import dataclasses
import gc

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from nnbox.errors import TrainingError
from nnbox.records.engine import EngineWishes
from nnbox.records.precision import Precision
from nnbox.rules.steadiness import LOOK_STEPS, MOST_IN_A_ROW
from nnbox.training.checkpoint import read_checkpoint, write_checkpoint
from nnbox.training.draw import sampling_plan
from nnbox.training.learner import Learner
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, Setback
from nnbox.training.sample import Sampler
from nnbox.training.steadiness import is_sound, mark, require_steady, total_size


def setbacks(told):
    return [news.sentence for news in told if isinstance(news, Setback)]


def epochs(told):
    return [news for news in told if isinstance(news, EpochRecord)]


@pytest.fixture
def spoilt(job, store, tmp_path):
    """The job with cases that hold NaN: call with the number of epochs, of steps, and the cases."""

    def spoil(iterations, cases):
        broken = tmp_path / "broken"
        broken.mkdir()
        for path in store.iterdir():
            (broken / path.name).write_bytes(path.read_bytes())
        for case in cases:
            image = np.load(broken / f"{case}.image.npy")
            np.save(broken / f"{case}.image.npy", np.full_like(image, np.nan))
        return dataclasses.replace(job, store=broken, iterations=iterations, epochs=2)

    return spoil


def test_a_step_that_is_not_finite_leaves_the_state_as_it_was(job):
    learner, batch = Learner(job), Sampler(sampling_plan(job)).batch(0)
    learner.judge(learner.gradients(batch))
    learner.step(1e-3)
    before = {name: tensor.clone() for name, tensor in learner.state().items()}
    spoilt = dataclasses.replace(batch, image=np.full_like(batch.image, np.inf))
    assert torch.isnan(learner.judge(learner.gradients(spoilt)))
    learner.step(1e-3)
    assert all(torch.equal(before[name], tensor) for name, tensor in learner.state().items())
    assert torch.isfinite(learner.judge(learner.gradients(batch)))
    learner.step(1e-3)
    assert not all(torch.equal(before[name], tensor) for name, tensor in learner.state().items())


def test_gradients_alone_can_make_a_step_unsound():
    fine, endless = torch.ones(3), torch.tensor([1.0, torch.inf])
    assert is_sound(torch.tensor(1.0), total_size([fine]))
    assert not is_sound(torch.tensor(1.0), total_size([fine, endless]))
    assert not is_sound(torch.tensor(torch.nan), total_size([fine]))
    assert torch.isnan(mark(torch.tensor(1.0), is_sound(torch.tensor(1.0), total_size([endless]))))


@pytest.fixture
def readings(monkeypatch):
    """Count what is read of arrays: on a GPU each reading waits until all steps before it are done."""
    found = []
    for name in ("tolist", "item", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)

        def counted(self, *how, name=name, original=original):
            found.append(name)
            return original(self, *how)

        monkeypatch.setattr(torch.Tensor, name, counted)
    return found


def test_no_step_of_another_device_than_a_cpu_reads_an_array(job, readings):
    """A step as `train_fold` takes it, on the CPU; a card's own synchronisations are not seen here."""
    learner, batch = Learner(job), Sampler(sampling_plan(job)).batch(0)
    lost, on_card = [], dataclasses.replace(job, device="cuda:0")
    for _ in range(3 * LOOK_STEPS):
        lost.append(torch.full((), torch.nan))
        require_steady(lost, on_card, 1)
    readings.clear()
    losses = []
    for _ in range(2):
        losses.append(learner.judge(learner.gradients(batch)))
        learner.step(1e-3)
        require_steady(losses, on_card, 1)
    assert readings == []
    with pytest.raises(TrainingError, match="in a row"):
        require_steady(lost, job, 1)
    assert readings == ["tolist"]


def test_judging_changes_nothing_of_a_sound_training(job):
    batches = [Sampler(sampling_plan(job)).batch(index) for index in range(3)]
    judged, plain = Learner(job), Learner(job)
    for batch in batches:
        judged.judge(judged.gradients(batch))
        judged.step(1e-3)
        plain.gradients(batch)
        plain.step(1e-3)
    assert all(torch.equal(plain.weights()[name], tensor) for name, tensor in judged.weights().items())


def test_single_steps_are_left_out_and_counted(spoilt):
    told = []
    job = spoilt(12, ["case_1"])
    result = train_fold(job, report=told.append)
    assert setbacks(told) == []
    assert sum(record.left_out for record in epochs(told)) > 0
    assert all(np.isfinite(record.training_loss) for record in epochs(told))
    assert np.isfinite(result.loss_last)
    weights = load_file(job.folder / "weights.safetensors")
    assert all(np.isfinite(values).all() for values in weights.values())


def fill(job, value):
    """Write one value into all training images, which may be open."""
    for case in job.training_cases:
        np.load(job.store / f"{case}.image.npy", mmap_mode="r+")[...] = value


@pytest.fixture
def breaking(spoilt):
    """A job in bf16, and the ear that spoils its images once the first epoch is done; what it heard is in its list."""
    job, told = dataclasses.replace(spoilt(12, ()), engine=EngineWishes(precision=Precision.BF16)), []

    def listen(news):
        told.append(news)
        if isinstance(news, EpochRecord) and news.epoch == 1:
            fill(job, np.nan)

    return job, listen, told


def test_a_breakdown_means_going_back_once_and_then_the_end_with_the_curves_kept(breaking):
    job, listen, told = breaking
    with pytest.raises(TrainingError, match=r"3d_fullres fold 0: in epoch 2 the loss .* were not finite .* in a row"):
        train_fold(job, report=listen)
    assert TrainingError.exit_code == 6
    (sentence,) = setbacks(told)
    assert "once more in float32 from the last saved state, after epoch 1" in sentence
    assert str(MOST_IN_A_ROW) in sentence
    with (job.folder / "progress.csv").open() as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["1"]
    record, _ = read_checkpoint(job.folder, job.digest(), told.append)
    assert (record.full_precision, record.schedule.epoch) == (True, 1)


def test_a_breakdown_in_float32_is_the_end_at_once(breaking):
    job, listen, told = breaking
    with pytest.raises(TrainingError, match="in epoch 2 the loss"):
        train_fold(dataclasses.replace(job, engine=EngineWishes()), report=listen)
    assert setbacks(told) == []


def test_the_second_learner_finds_the_memory_of_the_first(breaking):
    job, listen, _ = breaking
    gc.collect()
    before, alive = learners(), []

    def count(news):
        listen(news)
        if isinstance(news, Setback):
            alive.append(learners() - before)

    with pytest.raises(TrainingError):
        train_fold(job, report=count)
    assert alive == [1]


def learners():
    """Return how many there are."""
    return sum(type(found) is Learner for found in gc.get_objects())


def test_a_training_that_gets_over_it_in_float32_is_finished(breaking):
    job, listen, told = breaking

    def heal(news):
        listen(news)
        if isinstance(news, Setback):
            fill(job, 1.0)

    result = train_fold(job, report=heal)
    assert len(setbacks(told)) == 1
    assert [record.epoch for record in epochs(told)] == [1, 2]
    assert np.isfinite(result.loss_last)


def test_who_continues_after_a_breakdown_has_the_arithmetic_of_float32(breaking):
    """Switches of a card, which are set on a CPU as well: float32 is then not TF32."""
    job, listen, _ = breaking
    with pytest.raises(TrainingError):
        train_fold(job, report=listen)
    fill(job, 1.0)
    switches = []
    train_fold(job, report=lambda _news: switches.append(torch.backends.cudnn.allow_tf32))
    assert switches
    assert not any(switches)


@pytest.mark.parametrize("bad_steps", [11, 12])
def test_a_state_saved_amid_bad_steps_does_not_make_every_later_start_fail(breaking, bad_steps):
    """What broke down may be gone (another machine, a mended driver): only what this start computes is judged."""
    job, listen, told = breaking
    with pytest.raises(TrainingError):
        train_fold(job, report=listen)
    record, tensors = read_checkpoint(job.folder, job.digest(), told.append)
    write_checkpoint(
        job.folder,
        tensors,
        job_sha256=job.digest(),
        schedule=record.schedule,
        history=record.history,
        losses=(None,) * bad_steps,
        loss_scaling=record.loss_scaling,
        full_precision=True,
    )
    with pytest.raises(TrainingError):  # nothing is better yet
        train_fold(job, report=told.append)
    fill(job, 1.0)
    told.clear()
    result = train_fold(job, report=told.append)
    assert np.isfinite(result.loss_last)
    (epoch,) = epochs(told)
    assert epoch.left_out == bad_steps % 12
