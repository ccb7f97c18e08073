from __future__ import annotations

import csv
import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from nnbox.errors import ChangedRunError, DataError, LostClaimError, PlanError, ResourceError
from nnbox.files import digest_file
from nnbox.records.engine import Engine
from nnbox.training.arithmetic import arithmetic
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, StepTaken, StepTiming


class InterruptionError(Exception):
    pass


def interrupt_after(epoch):
    def report(record):
        if isinstance(record, EpochRecord) and record.epoch == epoch:
            raise InterruptionError

    return report


def silent(_record):
    pass


def test_a_fold_is_trained_from_prepared_arrays_to_final_weights(job):
    told = []
    result = train_fold(job, report=told.append)
    epochs = [record for record in told if isinstance(record, EpochRecord)]
    assert [record.epoch for record in epochs] == [1, 2, 3]
    assert (result.epochs, result.iterations_per_epoch) == (3, 4)
    assert result.stopped_by.startswith("epochs")
    assert result.loss_last < result.loss_first == epochs[0].training_loss
    assert result.weights_sha256 == digest_file(job.folder / "weights.safetensors")
    assert all(0 <= value <= 1 for value in epochs[-1].dice if value is not None)
    weights = load_file(job.folder / "weights.safetensors")
    assert all(values.dtype == np.float32 and np.isfinite(values).all() for values in weights.values())


def test_the_progress_table_has_a_row_per_epoch(job):
    train_fold(job, report=silent)
    with (job.folder / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) >= {"rate", "training_loss", "validation_loss", "dice_1", "dice_2", "seconds"}
    average = 0.93 * float(rows[0]["training_average"]) + 0.07 * float(rows[1]["training_loss"])
    assert float(rows[1]["training_average"]) == pytest.approx(average)


def test_the_measured_time_per_step_is_told_once_and_before_the_second_epoch(job):
    told = []
    train_fold(job, report=told.append)
    assert [type(news) for news in told[:7]] == [Engine, *[StepTaken] * 4, StepTiming, EpochRecord]
    (timing,) = (news for news in told if isinstance(news, StepTiming))
    assert timing.steps == 2
    assert timing.steps_left == 3 * 4 - 4
    assert timing.seconds_per_step > 0


def test_every_step_is_told_as_it_is_taken(job):
    told = []
    train_fold(job, report=told.append)
    assert told.count(StepTaken()) == 3 * 4


def test_twenty_steps_are_measured_after_the_warm_up(job):
    told = []
    train_fold(dataclasses.replace(job, iterations=25, epochs=1), report=told.append)
    (timing,) = (news for news in told if isinstance(news, StepTiming))
    assert (timing.steps, timing.steps_left) == (20, 3)


def test_validation_steps_shrink_with_the_iterations(job):
    assert job.schedule.validation_iterations == 1
    assert dataclasses.replace(job, iterations=100).schedule.validation_iterations == 20
    assert dataclasses.replace(job, iterations=None).schedule.validation_iterations == 50


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_training_ends_with_the_same_bytes_whatever_the_workers(job, tmp_path, epoch):
    whole = train_fold(job, report=silent)
    parted = dataclasses.replace(job, folder=tmp_path / "parted", workers=epoch - 1)
    with pytest.raises(InterruptionError):
        train_fold(parted, report=interrupt_after(epoch))
    told = []
    again = train_fold(dataclasses.replace(parted, workers=2 - epoch), report=told.append)
    assert (parted.folder / "weights.safetensors").read_bytes() == (job.folder / "weights.safetensors").read_bytes()
    assert again == whole
    assert told[-1].epoch == 3
    assert (parted.folder / "progress.csv").read_text().count("\n") == 4


def test_a_finished_training_is_not_done_again(job):
    first = train_fold(job, report=silent)
    told = []
    assert train_fold(job, report=told.append) == first
    assert told == []


def test_what_the_report_raises_ends_the_training(job):
    with pytest.raises(InterruptionError):
        train_fold(job, report=interrupt_after(1))
    assert not (job.folder / "weights.safetensors").exists()


@pytest.mark.parametrize("lost_at", ["an epoch", "an interrupt"])
def test_who_lost_the_unit_to_another_run_writes_nothing_more(job, lost_at):
    lost = []

    def may_write():
        if lost:
            raise LostClaimError("taken over")

    def listen(news):
        if isinstance(news, EpochRecord) and news.epoch == 1:
            lost.append(news)
            before.update({path.name: path.read_bytes() for path in job.folder.iterdir()})
            if lost_at == "an interrupt":
                raise KeyboardInterrupt

    before = {}
    wanted = LostClaimError if lost_at == "an epoch" else KeyboardInterrupt
    with pytest.raises(wanted):
        train_fold(job, report=listen, may_write=may_write)
    assert "checkpoint.json" in before
    assert {path.name: path.read_bytes() for path in job.folder.iterdir()} == before


def test_the_checkpoint_of_another_job_is_refused(job):
    train_fold(job, report=silent)
    with pytest.raises(ChangedRunError, match="belongs to a training with other"):
        train_fold(dataclasses.replace(job, seed=8), report=silent)


def test_seeds_and_folds_give_other_weights(job, tmp_path):
    digests = {
        train_fold(dataclasses.replace(job, epochs=1, folder=tmp_path / name, **change), report=silent).weights_sha256
        for name, change in (("a", {}), ("b", {"seed": 8}), ("c", {"fold": 1}))
    }
    assert len(digests) == 3


def test_a_planning_only_plan_is_refused(job):
    plan = dataclasses.replace(job.plan, trainable=False, why_not_trainable="it knows no intensities")
    with pytest.raises(PlanError, match="it knows no intensities"):
        train_fold(dataclasses.replace(job, plan=plan), report=silent)


def test_a_missing_prepared_case_is_named(job):
    with pytest.raises(DataError, match="case_9"):
        train_fold(dataclasses.replace(job, training_cases=("case_9",)), report=silent)


def test_switches_of_torch_are_set_back(job):
    assert not torch.are_deterministic_algorithms_enabled()
    train_fold(dataclasses.replace(job, epochs=1, deterministic=True), report=silent)
    assert not torch.are_deterministic_algorithms_enabled()
    assert math.isfinite(torch.get_num_threads())


@pytest.mark.parametrize("before", ["default", "warn"])
def test_only_repeatable_operations_are_allowed_while_a_training_is_to_repeat_itself(job, before):
    torch.set_deterministic_debug_mode(before)
    mode = torch.get_deterministic_debug_mode()
    try:
        for deterministic, wanted in ((True, 2), (False, 0)):
            with arithmetic(dataclasses.replace(job, deterministic=deterministic)):
                assert torch.get_deterministic_debug_mode() == wanted
            assert torch.get_deterministic_debug_mode() == mode
    finally:
        torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize("name", ["2d", "3d_cascade"])
def test_flat_and_second_stage_networks_are_trained_the_same_way(job, tiny, previous_store, name):
    configuration = tiny.configuration(name, patch=(16, 16) if name == "2d" else (8, 16, 16))
    changed = dataclasses.replace(
        job,
        configuration=configuration,
        plan=tiny.plan(configuration),
        previous_store=None if name == "2d" else previous_store,
        iterations=10,
        epochs=2,
    )
    result = train_fold(changed, report=silent)
    assert result.configuration == name
    assert result.loss_last < result.loss_first


def test_a_second_stage_without_previous_predictions_is_refused(job, tiny):
    configuration = tiny.configuration("3d_cascade")
    with pytest.raises(PlanError, match="previous predictions"):
        train_fold(dataclasses.replace(job, configuration=configuration), report=silent)


def test_running_out_of_device_memory_is_told_with_the_numbers(job, monkeypatch):
    def overflow(*_args):
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    monkeypatch.setattr("nnbox.training.learner.Learner.gradients", overflow)
    with pytest.raises(ResourceError, match=r"patches of \(8, 16, 16\) in batches of 3.*20 GiB.*--planning-memory"):
        train_fold(job, report=silent)
