"""Both feeds draw the same; only who interpolates differs. Here the device is a CPU."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from nnbox.errors import DataError, TrainingError
from nnbox.records.engine import AugmentationPath, EngineWishes, Residence
from nnbox.records.precision import Precision
from nnbox.training import feed as feed_module
from nnbox.training.ahead import Ahead
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.feed import DeviceBatch, device_batches, open_feed
from nnbox.training.loader import WorkerPool
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord
from nnbox.training.residence import Cases, case_bytes, label_type
from nnbox.training.sample import Sampler

ON_DEVICE = EngineWishes(augmentation=AugmentationPath.GPU)
CPU = torch.device("cpu")


def silent(_news):
    pass


def make(plan, residence=Residence.HOST, labels=torch.int8, span=(0, 10)):
    return list(device_batches(plan, Cases(plan, residence, CPU, labels), CPU, labels, span))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "2d", "patch": (16, 24)},
        {"dummy_2d_augmentation": True, "dummy_2d_axis": 0},
        {"name": "3d_cascade"},
        {"patch": (16, 32, 32)},
    ],
    ids=["3d", "2d", "slice by slice", "cascade", "larger than the cases"],
)
def test_the_device_gives_the_patches_of_the_workers_within_the_error_of_interpolation(
    job, tiny, previous_store, changes
):
    configuration = tiny.configuration(**changes)
    previous = previous_store if configuration.previous else None
    job = dataclasses.replace(
        job, configuration=configuration, plan=tiny.plan(configuration), previous_store=previous, iterations=20
    )
    plan, equal, voxels = sampling_plan(job), 0, 0
    sampler = Sampler(plan)
    for index, found in enumerate(make(plan, span=(0, 24))):  # an epoch with its validation batches
        wanted = sampler.batch(index)
        assert found.image.shape == wanted.image.shape
        np.testing.assert_allclose(found.image[:, :2].numpy(), wanted.image[:, :2], atol=2e-4)
        equal += int((found.labels.numpy() == wanted.labels).sum())
        equal += int((found.image[:, 2:].numpy() == wanted.image[:, 2:]).sum())
        voxels += wanted.labels.size + wanted.image[:, 2:].size
    assert equal >= 0.995 * voxels


@pytest.mark.parametrize("residence", list(Residence))
def test_where_cases_lie_changes_nothing(job, residence):
    plan = sampling_plan(job)
    assert_same(make(plan, residence), make(plan))


def test_a_device_is_given_all_cases_before_the_first_batch(job):
    """What the first steps hold at most decides how many networks fit beside each other."""
    plan = sampling_plan(job)
    for residence in Residence:
        cases = Cases(plan, residence, CPU, torch.int8)
        with closing(device_batches(plan, cases, CPU, torch.int8, (0, 10))) as batches:
            next(batches)
        if residence is Residence.DEVICE:
            assert set(cases._kept) == {*plan.training_cases, *plan.validation_cases}
        else:
            assert len(cases._kept) <= len(plan.forced)


def test_many_mapped_cases_are_not_all_kept_open(job, monkeypatch):
    monkeypatch.setattr("nnbox.training.residence.MOST_OPEN_CASES", 1)
    plan = sampling_plan(job)
    cases = Cases(plan, Residence.MAPPED, CPU, torch.int8)
    for name in (*plan.training_cases, *plan.validation_cases):
        cases.voxels(name)
    assert len(cases._kept) == 1
    assert_same(make(plan), list(device_batches(plan, cases, CPU, torch.int8, (0, 10))))


def test_the_size_of_the_cases_is_that_of_their_arrays(job, store):
    files = [path for path in store.iterdir() if path.name.endswith((".image.npy", ".labels.npy"))]
    assert case_bytes(job) == sum(path.stat().st_size for path in files)


def test_labels_take_one_byte_where_that_is_enough():
    assert label_type(range(128)) == torch.int8
    assert label_type(range(129)) == torch.int16


@pytest.mark.parametrize("path", [AugmentationPath.CPU, AugmentationPath.GPU])
def test_a_thread_that_is_ahead_gives_the_same_batches(job, path):
    engine = settle_engine(dataclasses.replace(job, engine=EngineWishes(augmentation=path)))
    plan = sampling_plan(job)
    with WorkerPool(0) as pool:
        straight = list(open_feed(job, engine, pool, plan, (0, 10)))
        ahead = Ahead(open_feed(job, engine, pool, plan, (0, 10)), CPU, 2)
        assert_same(list(ahead), straight)
        assert not ahead._thread.is_alive()


def test_what_goes_wrong_ahead_is_raised_where_the_batch_would_have_been():
    def source():
        yield DeviceBatch(image=torch.zeros(1), labels=torch.zeros(1))
        raise TrainingError("the second could not be made")

    ahead = Ahead(source(), CPU, 3)
    next(ahead)
    with pytest.raises(TrainingError, match="the second"):
        next(ahead)
    assert not ahead._thread.is_alive()


def test_a_feed_that_is_left_early_leaves_no_thread_and_closes_its_source():
    closed = []

    def source():
        try:
            while True:
                yield DeviceBatch(image=torch.zeros(1), labels=torch.zeros(1))
        finally:
            closed.append(threading.current_thread())

    ahead = Ahead(source(), CPU, 2)
    next(ahead)
    ahead.close()
    assert closed == [threading.current_thread()]
    assert not any(thread.name == "nnbox-feed" for thread in threading.enumerate())


def test_no_worker_is_started_for_a_device_that_augments(job, monkeypatch):
    def started():
        raise AssertionError("a worker was started")

    monkeypatch.setattr("nnbox.training.loader._start_worker", started)
    train_fold(dataclasses.replace(job, engine=ON_DEVICE, workers=2, epochs=1), report=silent)


def test_a_missing_case_and_a_sample_that_cannot_be_made_are_named(job, store, tmp_path):
    plan = sampling_plan(dataclasses.replace(job, training_cases=("case_9",)))
    with pytest.raises(DataError, match="case_9"):
        make(plan)
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in store.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    np.save(broken / "case_0.labels.npy", np.zeros((2, 2), dtype=np.int16))
    plan = dataclasses.replace(sampling_plan(job), store=broken, training_cases=("case_0",))
    with pytest.raises(TrainingError, match="case case_0: sample 0 of step 0"):
        make(plan)


class InterruptionError(Exception):
    pass


def interrupt_after(epoch):
    def report(news):
        if isinstance(news, EpochRecord) and news.epoch == epoch:
            raise InterruptionError

    return report


@pytest.mark.parametrize("thread", [False, True], ids=["one thread", "a thread ahead"])
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16])
def test_an_interrupted_training_with_augmentation_on_the_device_ends_with_the_same_bytes(
    job, tmp_path, monkeypatch, precision, thread
):
    engine = dataclasses.replace(ON_DEVICE, precision=precision)
    whole = train_fold(dataclasses.replace(job, engine=engine), report=silent)
    if thread:
        original = feed_module.device_batches
        monkeypatch.setattr(
            feed_module, "device_batches", lambda *given, **named: Ahead(original(*given, **named), CPU, 3)
        )
    parted = dataclasses.replace(job, engine=engine, folder=tmp_path / "parted", workers=2)
    with pytest.raises(InterruptionError):
        train_fold(parted, report=interrupt_after(2))
    assert train_fold(dataclasses.replace(parted, workers=0), report=silent) == whole


def test_a_training_with_augmentation_on_the_device_learns_as_the_other_does(job, tmp_path):
    results = [
        train_fold(dataclasses.replace(job, engine=wishes, folder=tmp_path / name), report=silent)
        for name, wishes in (("workers", EngineWishes()), ("device", ON_DEVICE))
    ]
    assert results[0].loss_first == pytest.approx(results[1].loss_first, abs=1e-3)
    assert results[0].loss_last == pytest.approx(results[1].loss_last, abs=0.05)
