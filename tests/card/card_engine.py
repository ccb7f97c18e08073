"""The engine on the card: every way to compute gives the same steps, nothing waits for it, and it repeats itself."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager

import pytest
import torch
from our_step import feed, our_step, ready

from nnbox.records.engine import AugmentationPath, EngineWishes, NormKind, Residence, SpeedUp
from nnbox.records.precision import Precision
from nnbox.training.arithmetic import arithmetic
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.feed import device_batches, open_feed
from nnbox.training.learner import Learner
from nnbox.training.loader import WorkerPool
from nnbox.training.loop import train_fold
from nnbox.training.residence import Cases, label_type


def silent(_news):
    pass


def losses_of(job, batches):
    """Losses of steps; the last is after them all."""
    with arithmetic(job):
        learner, losses = Learner(job), []
        for batch in batches:
            losses.append(float(learner.judge(learner.gradients(batch))))
            learner.step(1e-3)
    return losses, learner


def test_a_card_gets_everything_it_can_do(unit):
    with arithmetic(unit()):
        engine = Learner(unit()).engine
    assert (engine.precision, engine.norm, engine.residence) == (Precision.BF16, NormKind.TRITON, Residence.DEVICE)
    assert (engine.channels_last, engine.wide, engine.fused_adam, engine.graphs) == (True, True, True, True)
    assert engine.augmentation is AugmentationPath.GPU


def test_single_precision_on_the_card_is_that_of_the_cpu(unit, some_batches):
    wishes = EngineWishes(precision=Precision.FLOAT32)
    expected, _ = losses_of(unit("cpu", engine=wishes), some_batches)
    found, _ = losses_of(unit(engine=wishes), some_batches)
    assert found == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("without", [(item,) for item in SpeedUp] + [tuple(SpeedUp)], ids=lambda items: "+".join(items))
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_each_speed_up_gives_the_same_steps(unit, some_batches, without, precision):
    expected, _ = losses_of(unit(engine=EngineWishes(precision=precision)), some_batches)
    found, learner = losses_of(unit(engine=EngineWishes(precision=precision, without=without)), some_batches)
    assert found == pytest.approx(expected, abs=2e-3 if precision is Precision.FLOAT32 else 5e-2)
    assert not {SpeedUp.GRAPHS} & set(without) or not learner.engine.graphs


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_a_replayed_step_is_the_step(unit, some_batches, precision):
    """Bit for bit, with kernels that repeat themselves."""
    jobs = [
        unit(deterministic=True, engine=EngineWishes(precision=precision, without=without))
        for without in ((), (SpeedUp.GRAPHS,))
    ]
    (expected, _), (found, learner) = (losses_of(job, some_batches) for job in jobs)
    assert not learner.engine.graphs
    assert found == expected


@contextmanager
def never_waiting():
    """Any operation that makes the host wait for the card raises."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "without", [(), (SpeedUp.GRAPHS,), (SpeedUp.RESIDENT,)], ids=lambda items: "+".join(items) or "-"
)
def test_nothing_within_an_epoch_waits_for_the_card(unit, without):
    job = unit(engine=EngineWishes(without=without))
    with our_step(job) as step, feed(job, 30) as made:
        for _ in range(5):
            step.take(next(made))
        with never_waiting():
            for _ in range(20):
                step.take(next(made))


def test_the_guard_sees_what_waits(card):
    with pytest.raises(RuntimeError, match="synchroniz"), never_waiting():
        torch.ones(1, device=card).item()


def test_the_card_augments_as_the_cpu_does(unit):
    """The same record: within the error of float32 interpolation, labels but for ties."""
    job = dataclasses.replace(unit(), iterations=40)
    plan, equal, voxels, largest = sampling_plan(job), 0, 0, 0.0
    for place in ("cuda:0", "cpu"):
        device = torch.device(place)
        cases = Cases(plan, Residence.DEVICE, device, torch.int8)
        batches = [
            (one.image.cpu(), one.labels.cpu()) for one in device_batches(plan, cases, device, torch.int8, (0, 40))
        ]
        if place == "cuda:0":
            there = batches
    for (image, labels), (wanted, expected) in zip(there, batches, strict=True):
        largest = max(largest, float((image - wanted).abs().max()))
        equal, voxels = equal + int((labels == expected).sum()), voxels + labels.numel()
    assert largest <= 2e-3
    assert equal >= 0.9999 * voxels


@pytest.mark.parametrize("changes", [{}, {"dummy_2d_augmentation": True, "dummy_2d_axis": 0}], ids=["3d", "slices"])
def test_patches_are_read_alike_by_kernels_and_by_torch(unit, card, changes):
    job = unit()
    job = dataclasses.replace(job, configuration=dataclasses.replace(job.configuration, **changes))
    plan, differing, voxels = sampling_plan(job), 0, 0
    made = [
        device_batches(
            plan, Cases(plan, Residence.DEVICE, card, torch.int8), card, torch.int8, (0, 30), kernels=kernels
        )
        for kernels in (False, True)
    ]
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one.image, other.image, atol=2e-4, rtol=0)
        differing, voxels = differing + int((one.labels != other.labels).sum()), voxels + one.labels.numel()
    assert differing <= 1e-5 * voxels


@pytest.mark.parametrize("residence", list(Residence))
def test_where_cases_lie_changes_no_bit(unit, card, residence):
    job = unit()
    plan, kind = sampling_plan(job), label_type(label.value for label in job.plan.labels)
    expected, found = (
        list(device_batches(plan, Cases(plan, where, card, kind), card, kind, (0, 8)))
        for where in (Residence.DEVICE, residence)
    )
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.labels, other.labels)


def test_the_thread_that_is_ahead_gives_whole_batches(unit, card):
    job = unit()
    plan, engine = sampling_plan(job), settle_engine(job)
    kind = label_type(label.value for label in job.plan.labels)
    straight = device_batches(plan, Cases(plan, Residence.DEVICE, card, kind), card, kind, (0, 12), kernels=True)
    with WorkerPool(0) as pool:
        ahead = list(open_feed(job, engine, pool, plan, (0, 12)))
    for one, other in zip(straight, ahead, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.labels, other.labels)


class InterruptionError(Exception):
    """Raised in the middle of a training."""


@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16])
def test_a_deterministic_training_is_continued_to_the_same_bytes(unit, tmp_path, precision):
    whole = unit(deterministic=True, engine=EngineWishes(precision=precision))
    train_fold(whole, report=silent)
    parted = dataclasses.replace(whole, folder=tmp_path / "parted")
    parted.folder.mkdir()

    def interrupt(told):
        if getattr(told, "epoch", 0) == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train_fold(parted, report=interrupt)
    train_fold(parted, report=silent)
    assert (parted.folder / "weights.safetensors").read_bytes() == (whole.folder / "weights.safetensors").read_bytes()


def test_a_training_on_the_card_learns(unit):
    job = dataclasses.replace(unit(), epochs=4, iterations=60)
    told = []
    train_fold(job, report=told.append)
    epochs = [news for news in told if hasattr(news, "dice")]
    assert epochs[-1].training_loss < epochs[0].training_loss - 0.2


def test_ready_batches_and_carried_ones_are_the_same(unit, some_batches):
    job = unit(deterministic=True)
    carried, _ = losses_of(job, some_batches)
    there, _ = losses_of(job, [batch_on(job, batch) for batch in ready(some_batches, job.device)])
    assert there == carried


def batch_on(job, batch):
    return dataclasses.replace(batch, image=batch.image.to(job.device), labels=batch.labels.to(job.device))
