from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from nnbox.errors import ChangedRunError, ResourceError
from nnbox.interruption import listen_for_signals
from nnbox.records.codec import encode
from nnbox.rules.schedule import ScheduleState
from nnbox.training.checkpoint import LossScaling, discard_checkpoint, read_checkpoint, write_checkpoint, write_tensors
from nnbox.training.draw import sampling_plan
from nnbox.training.learner import Learner
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord
from nnbox.training.sample import Sampler

RECORD = EpochRecord(
    configuration="3d_fullres",
    fold=0,
    epoch=1,
    maximum_epochs=3,
    rate=3e-4,
    training_loss=0.5,
    validation_loss=0.6,
    training_average=0.5,
    validation_average=0.6,
    dice=(0.25, None),
    seconds=1.5,
)


def nothing(_sentence):
    pass


def take_step(learner, batch, rate):
    loss = learner.gradients(batch)
    learner.step(rate)
    return loss


def write(folder, epoch=1, tensors=None, job="job", loss_scaling=None):
    tensors = {"network/a": torch.arange(6.0).reshape(2, 3)} if tensors is None else tensors
    state = ScheduleState(epoch=epoch, rate=3e-4)
    write_checkpoint(folder, tensors, job_sha256=job, schedule=state, history=(RECORD,), loss_scaling=loss_scaling)


def test_what_is_written_is_read_back(tmp_path):
    write(tmp_path, loss_scaling=LossScaling(scale=1024.0, growth_steps=7))
    record, tensors = read_checkpoint(tmp_path, "job", nothing)
    assert record.schedule == ScheduleState(epoch=1, rate=3e-4)
    assert record.history == (RECORD,)
    assert record.loss_scaling == LossScaling(scale=1024.0, growth_steps=7)
    assert torch.equal(tensors["network/a"], torch.arange(6.0).reshape(2, 3))


def test_a_file_that_cannot_be_written_is_explained(tmp_path):
    (tmp_path / "file").write_bytes(b"a file where a folder is needed")
    with pytest.raises(ResourceError, match=r"weights\.safetensors \(0 MB\) cannot be written.*free disk space"):
        write_tensors(tmp_path / "file" / "weights.safetensors", {"a": torch.zeros(3)})


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    for epoch in (1, 2, 10, 10):
        write(tmp_path, epoch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-000002-000000.safetensors",
        "checkpoint-000010-000000.safetensors",
        "checkpoint-before.json",
        "checkpoint.json",
    ]
    assert read_checkpoint(tmp_path, "job", nothing)[0].schedule.epoch == 10


def test_a_checkpoint_half_written_leaves_the_one_before(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def broken(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnbox.training.checkpoint.write_record", broken)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 2)
    assert read_checkpoint(tmp_path, "job", nothing)[0].schedule.epoch == 1


@pytest.mark.parametrize("damage", ["tensors cut", "tensors missing", "record cut"])
def test_a_damaged_checkpoint_means_the_one_before_and_is_said(tmp_path, damage):
    told = []
    write(tmp_path, 1)
    write(tmp_path, 2)
    break_it(tmp_path, "checkpoint.json", "checkpoint-000002-000000.safetensors", damage)
    assert read_checkpoint(tmp_path, "job", told.append)[0].schedule.epoch == 1
    assert len(told) == 1
    assert "goes on from the checkpoint before it, after epoch 1" in told[0]
    write(tmp_path, 2)
    assert read_checkpoint(tmp_path, "job", told.append)[0].schedule.epoch == 2
    assert len(told) == 1


@pytest.mark.parametrize("damage", ["tensors cut", "tensors missing", "record cut"])
def test_two_damaged_checkpoints_mean_starting_anew_and_it_is_said(tmp_path, damage):
    told = []
    write(tmp_path, 1)
    write(tmp_path, 2)
    break_it(tmp_path, "checkpoint.json", "checkpoint-000002-000000.safetensors", "tensors cut")
    break_it(tmp_path, "checkpoint-before.json", "checkpoint-000001-000000.safetensors", damage)
    assert read_checkpoint(tmp_path, "job", told.append) is None
    assert "trained from the start" in told[0]


def break_it(folder, record, tensors, damage):
    if damage == "tensors missing":
        (folder / tensors).unlink()
    else:
        path = folder / (tensors if damage == "tensors cut" else record)
        path.write_bytes(path.read_bytes()[:-3])


def test_no_checkpoint_is_no_news(tmp_path):
    told = []
    assert read_checkpoint(tmp_path, "job", told.append) is None
    assert told == []


def test_the_checkpoint_of_another_job_is_refused(tmp_path):
    write(tmp_path, job="one")
    with pytest.raises(ChangedRunError, match="--restart"):
        read_checkpoint(tmp_path, "other", nothing)


def test_a_discarded_checkpoint_leaves_nothing(tmp_path):
    write(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"kept")
    discard_checkpoint(tmp_path)
    discard_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_equal_tensors_give_equal_bytes_in_any_memory_order(tmp_path):
    values = torch.arange(48.0).reshape(2, 3, 2, 2, 2)
    last = values.contiguous(memory_format=torch.channels_last_3d)
    first = write_tensors(tmp_path / "a", {"x": values, "y": values + 1})
    assert first == write_tensors(tmp_path / "b", {"y": last + 1, "x": last})


def test_what_is_trained_may_be_read_by_others(tmp_path):
    """A container of another user predicts with it."""
    write_tensors(tmp_path / "weights.safetensors", {"a": torch.zeros(3)})
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_learner_that_takes_up_a_state_goes_on_as_if_never_stopped(job):
    batches = [Sampler(sampling_plan(job)).batch(index) for index in range(4)]
    straight, before, after = Learner(job), Learner(job), Learner(job)
    for batch in batches:
        take_step(straight, batch, 1e-3)
    for batch in batches[:2]:
        take_step(before, batch, 1e-3)
    after.load({name: tensor.clone().contiguous() for name, tensor in before.state().items()}, None)
    for batch in batches[2:]:
        take_step(after, batch, 1e-3)
    expected, found = straight.state(), after.state()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert {name.rsplit("/", 1)[1] for name in expected if name.startswith("optimizer/")} == {
        "step",
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
    }


_KILLED = """
import json, os, signal, sys
from pathlib import Path
from nnbox.records.codec import decode
from nnbox.training.job import TrainingJob
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord

def report(news):
    if isinstance(news, EpochRecord) and news.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    train_fold(decode(json.loads(Path(sys.argv[1]).read_text()), TrainingJob, where="test"), report=report)
"""


def test_a_training_killed_by_the_system_continues_to_the_same_bytes(job, tmp_path):
    script, description = tmp_path / "killed.py", tmp_path / "job.json"
    script.write_text(textwrap.dedent(_KILLED))
    killed = dataclasses.replace(job, folder=tmp_path / "killed", workers=1)
    description.write_text(json.dumps(encode(killed)))
    command = [sys.executable, script, description]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert read_checkpoint(killed.folder, killed.digest(), nothing) is not None
    assert not (killed.folder / "weights.safetensors").exists()
    resumed = train_fold(dataclasses.replace(killed, workers=0), report=lambda _: None)
    assert resumed == train_fold(job, report=lambda _: None)


@pytest.fixture
def heard_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listen_for_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_training_told_to_end_saves_the_steps_of_its_epoch_and_continues_to_the_same_bytes(
    job, tmp_path, monkeypatch, heard_signals, steps, number
):
    """The signal comes while the optimiser works: the step is finished, counted and saved."""
    told = dataclasses.replace(job, folder=tmp_path / "told", workers=1)
    done, original = [], Learner.step

    def step(self, rate):
        done.append(rate)
        if len(done) == steps:
            os.kill(os.getpid(), number)
        original(self, rate)

    monkeypatch.setattr(Learner, "step", step)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        train_fold(told, report=lambda _: None)
    monkeypatch.undo()
    assert len(done) == steps
    record, _ = read_checkpoint(told.folder, told.digest(), nothing)
    assert (record.schedule.epoch, len(record.losses)) == divmod(steps, told.schedule.iterations_per_epoch)
    resumed = train_fold(dataclasses.replace(told, workers=0), report=lambda _: None)
    assert resumed == train_fold(job, report=lambda _: None)
