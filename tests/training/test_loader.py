from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time
from collections import OrderedDict
from itertools import islice

import numpy as np
import pytest
import torch

from nnbox.errors import DataError, ResourceError, TrainingError
from nnbox.training.ahead import Ahead
from nnbox.training.draw import drawn_cases, sampling_plan
from nnbox.training.loader import WorkerPool
from nnbox.training.sample import Sampler


def take(pool, plan, first=0, last=10):
    return list(pool.batches(plan, first, last))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert one.image.tobytes() == two.image.tobytes()
        assert one.labels.tobytes() == two.labels.tobytes()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until_gone(pids) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if all(gone(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_do_not_depend_on_the_number_of_workers(job, workers):
    plan = sampling_plan(job)
    with WorkerPool(0) as none, WorkerPool(workers) as some:
        assert_same(take(some, plan), take(none, plan))
        assert_same(take(some, plan, 3, 8), take(none, plan, 3, 8))


def test_a_pool_serves_one_unit_after_another_also_when_one_is_left_early(job):
    plans = [dataclasses.replace(sampling_plan(job), unit=f"3d_fullres/fold_{fold}") for fold in range(3)]
    with WorkerPool(0) as none, WorkerPool(2) as pool:
        for plan in plans:
            batches = pool.batches(plan, 0, 1000)
            found = list(islice(batches, 3))
            batches.close()
            assert_same(found, take(none, plan, 0, 3))


def test_more_workers_than_batches_do_no_harm(job):
    with WorkerPool(0) as none, WorkerPool(3) as pool:
        assert_same(take(pool, sampling_plan(job), 0, 2), take(none, sampling_plan(job), 0, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_case_is_named_whoever_reads_it(job, store, tmp_path, workers):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in store.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "case_2.image.npy").write_bytes(b"")
    with WorkerPool(workers) as pool:
        with pytest.raises(DataError, match=r"case case_2, case_2\.image\.npy: it cannot be read"):
            take(pool, dataclasses.replace(sampling_plan(job), store=broken))
        assert len(take(pool, sampling_plan(job), 0, 3)) == 3, "the pool is still of use"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_made_names_its_case(job, store, tmp_path, workers):
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in store.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    np.save(broken / "case_0.labels.npy", np.zeros((2, 2), dtype=np.int16))
    plan = dataclasses.replace(sampling_plan(job), store=broken, training_cases=("case_0",))
    with WorkerPool(workers) as pool, pytest.raises(TrainingError, match="case case_0: sample 0 of step 0"):
        take(pool, plan)


def test_the_work_of_a_killed_worker_is_done_by_one_alone_and_the_batches_are_the_same(job):
    told = []
    with WorkerPool(0) as none, WorkerPool(2, told.append) as pool:
        batches = pool.batches(sampling_plan(job), 0, 40)
        first = next(batches)
        os.kill(pool._workers[1].process.pid, signal.SIGKILL)
        assert_same([first, *batches], take(none, sampling_plan(job), 0, 40))
        assert len(pool._workers) == 1
    assert len(told) == 1
    assert "was killed by signal 9" in told[0]


def test_a_worker_that_is_killed_in_the_middle_of_a_message_is_lost_like_any_other(job):
    told = []
    with WorkerPool(0) as none, WorkerPool(2, told.append) as pool:
        batches = pool.batches(sampling_plan(job), 0, 40)
        first = next(batches)
        worker = pool._workers[1]
        ours, theirs = multiprocessing.Pipe()
        theirs.send_bytes(json.dumps({"image": first.image.shape, "labels": first.labels.shape}).encode())
        os.write(theirs.fileno(), struct.pack("!i", first.image.nbytes) + first.image.tobytes()[:1000])
        theirs.close()
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.connection.close()
        pool._workers[1] = dataclasses.replace(worker, connection=ours)
        assert_same([first, *batches], take(none, sampling_plan(job), 0, 40))
    assert "was killed by signal 9" in told[0]


def test_a_batch_is_made_of_the_cases_that_its_samples_were_drawn_from(job, monkeypatch):
    plan, opened = sampling_plan(job), []
    sampler = Sampler(plan)
    monkeypatch.setattr(sampler, "_open", Forgetful(opened))
    for index in range(2 * plan.steps_per_epoch):
        opened.clear()
        sampler.batch(index)
        assert drawn_cases(plan, index) == tuple(dict.fromkeys(opened))


class Forgetful(OrderedDict):
    """Opened cases that are forgotten at once, but for their names."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def __setitem__(self, name, case):
        self.names.append(name)


def test_a_lost_worker_names_the_cases_of_the_batch_that_it_was_making(job):
    plan, told = sampling_plan(job), []
    with WorkerPool(2, told.append) as pool:
        batches = pool.batches(plan, 0, 40)
        next(batches)
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        list(batches)
    (sentence,) = told
    index = int(re.search(r"batch (\d+) ", sentence)[1])
    assert index % 2 == 0, "the killed worker makes the even ones"
    names = ", ".join(drawn_cases(plan, index))
    assert f"3d_fullres/fold_0, batch {index} (case{'s' if ', ' in names else ''} {names}): " in sentence


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_batch_that_memory_does_not_suffice_for_is_told_with_its_cases(job, workers):
    told = []
    plan = dataclasses.replace(sampling_plan(job), patch_size=(100_000, 100_000, 100_000), training_cases=("case_0",))
    with WorkerPool(workers, told.append) as pool:
        with pytest.raises(ResourceError, match=r"3d_fullres/fold_0, batch 0 \(case case_0\): .*out.*What to do"):
            take(pool, plan)
        assert [sentence for sentence in told if "ran out of memory" not in sentence] == []
        assert len(told) == max(0, workers - 1), "what is starved in company is tried again by one alone"
        assert len(take(pool, sampling_plan(job), 0, 3)) == 3, "the pool is still of use"


def test_a_worker_killed_alone_ends_the_training_in_words(job):
    with WorkerPool(1) as pool:
        batches = pool.batches(sampling_plan(job), 0, 1000)
        next(batches)
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        with pytest.raises(ResourceError, match=r"3d_fullres/fold_0, batch \d+ \(.* killed by signal 9.*What to do"):
            list(batches)


def test_a_hung_worker_counts_as_lost(job, monkeypatch):
    told = []

    def tell(sentence):
        told.append(sentence)
        monkeypatch.setenv("NNBOX_WORKER_SECONDS", "600")  # the new worker is no faster than it is

    with WorkerPool(0) as none, WorkerPool(2, tell) as pool:
        batches = pool.batches(sampling_plan(job), 0, 40)
        first = next(batches)
        for worker in pool._workers:
            os.kill(worker.process.pid, signal.SIGSTOP)
        monkeypatch.setenv("NNBOX_WORKER_SECONDS", "0.5")
        assert_same([first, *batches], take(none, sampling_plan(job), 0, 40))
    assert len(told) == 1
    assert "gave no batch for 0.5 seconds (NNBOX_WORKER_SECONDS) and counts as hung" in told[0]


def test_a_unit_that_is_left_early_does_not_wait_for_a_hung_worker_for_ever(job, monkeypatch):
    with WorkerPool(0) as none, WorkerPool(2) as pool:
        batches = pool.batches(sampling_plan(job), 0, 40)
        next(batches)
        pids = [worker.process.pid for worker in pool._workers]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        monkeypatch.setenv("NNBOX_WORKER_SECONDS", "0.5")
        batches.close()
        assert all(gone(pid) for pid in pids)
        monkeypatch.setenv("NNBOX_WORKER_SECONDS", "600")
        assert_same(take(pool, sampling_plan(job)), take(none, sampling_plan(job)))


def test_closing_the_pool_ends_its_processes(job):
    with WorkerPool(2) as pool:
        batches = pool.batches(sampling_plan(job), 0, 1000)
        next(batches)
        pids = [worker.process.pid for worker in pool._workers]
        batches.close()
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_amid_a_batch_ends_the_workers_and_is_not_hidden(job, monkeypatch, interruption):
    """What is left in the pipe is the rest of an array, not an answer to anything."""

    def interrupt(_connection, _header):
        raise interruption

    with WorkerPool(2) as pool:
        pids = [worker.process.pid for worker in pool._workers]
        monkeypatch.setattr("nnbox.training.loader.receive_arrays", interrupt)
        with pytest.raises(interruption):
            next(pool.batches(sampling_plan(job), 0, 1000))
        assert wait_until_gone(pids)


def test_workers_that_are_given_up_while_a_thread_reads_are_not_missed(job):
    """An interruption on a GPU: the thread that is ahead is amid a batch when the training's ends the workers."""
    said = []
    with WorkerPool(2, said.append) as pool:
        ahead = Ahead(pool.batches(sampling_plan(job), 0, 100_000), torch.device("cpu"), 1)
        next(ahead)
        pids = [worker.process.pid for worker in pool._workers]
        pool.give_up()
        list(ahead)  # those that were ready, and then no more
        assert wait_until_gone(pids)
        assert [worker.process.pid for worker in pool._workers if worker.process.pid not in pids] == []
    assert said == []


_PARENT = """
import json, os, signal, sys
from nnbox.records.codec import decode
from nnbox.training.loader import WorkerPool
from nnbox.training.draw import SamplingPlan

if __name__ == "__main__":
    plan = decode(json.loads(sys.argv[1]), SamplingPlan, where="test")
    pool = WorkerPool(2)
    next(pool.batches(plan, 0, 1000))
    batches = pool.batches(plan, 0, 1000)
    next(batches)
    print(*(worker.process.pid for worker in pool._workers), "torch" in sys.modules, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_worker_outlives_a_killed_parent_and_none_needs_torch(job, tmp_path):
    import json

    from nnbox.records.codec import encode

    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(_PARENT))
    plan = json.dumps(encode(sampling_plan(job)))
    done = subprocess.run([sys.executable, script, plan], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    *pids, torch_loaded = done.stdout.split()
    assert torch_loaded == "False"
    assert wait_until_gone([int(pid) for pid in pids])
