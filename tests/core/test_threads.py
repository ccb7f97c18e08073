"""Libraries use as many threads as they may; what must not depend on who computes it uses one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nnbox.threads import shared_out, thread_settings

# What threads do to bits shows only on arrays that are worth sharing out.
_PREPARE = """
import hashlib

import numpy as np
from threadpoolctl import threadpool_info

from nnbox.imaging.counts import count_channel
from nnbox.imaging.normalize import normalize
from nnbox.imaging.resample import resample_image
from nnbox.stages.pool import run_all

def threads():
    (numpys,) = [one for one in threadpool_info() if one["user_api"] == "blas" and "numpy" in one["filepath"]]
    return numpys["num_threads"]

def work(seed):
    image = np.random.default_rng(seed).normal(size=(1, 30, 100, 90)).astype(np.float32)
    resized = resample_image(image, (44, 130, 115), separate_axis=None)
    counts = count_channel(resized.ravel()[:200_000])
    return hashlib.sha256(resized.tobytes()).hexdigest(), counts.mean, counts.squares, threads()

if __name__ == "__main__":
    before = threads()
    alone = [*run_all(work, range(3), workers=1)]
    assert {one[-1] for one in alone} == {1}, alone
    assert threads() == before
    assert [*run_all(work, range(3), workers=2)] == alone
    (again,) = run_all(work, [1], workers=2)  # one task is done in this process
    assert again == alone[1]
    print(before)
"""
_INTAKE = """
from threadpoolctl import threadpool_info
from nnbox.intake import workers

def threads(_):
    (numpys,) = [one for one in threadpool_info() if one["user_api"] == "blas" and "numpy" in one["filepath"]]
    return numpys["num_threads"]

if __name__ == "__main__":
    for count in (1, 2):
        assert [*workers._run(threads, range(4), count, None)] == [1] * 4
    print("done")
"""
_LOADER = """
from threadpoolctl import threadpool_info

from nnbox.training import loader, worker

def threads():
    (numpys,) = [one for one in threadpool_info() if one["user_api"] == "blas" and "numpy" in one["filepath"]]
    return numpys["num_threads"]

class Closed:
    def recv_bytes(self):
        raise EOFError

class Sampler:
    def __init__(self, plan):
        pass

    def batch(self, index):
        return threads()

if __name__ == "__main__":
    before = threads()
    loader.Sampler = Sampler
    assert [*loader._made_here(None, 0, 2)] == [1, 1]
    assert threads() == before
    worker.serve(Closed())
    assert threads() == 1
    print("done")
"""
_QUOTA = """
import os
from nnbox import limits

limits.available_cpus = lambda: 1 if len(os.sched_getaffinity(0)) > 1 else 0
import nnbox.cli
from nnbox.threads import shared_out

print(os.environ["OMP_NUM_THREADS"], shared_out(8, 2).get("OMP_NUM_THREADS"))
"""


def _run(script, tmp_path, said=None):
    path = tmp_path / "script.py"
    path.write_text(script)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if said is not None:
        environment["OMP_NUM_THREADS"] = said
    done = subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("said", [None, "3"])
def test_a_case_is_prepared_with_the_same_bits_whoever_does_it(tmp_path, said):
    _run(_PREPARE, tmp_path, said)


def test_cases_are_read_with_one_thread_in_a_worker_and_here(tmp_path):
    assert _run(_INTAKE, tmp_path) == ["done"]


def test_batches_are_made_with_one_thread_in_a_worker_and_here(tmp_path):
    assert _run(_LOADER, tmp_path) == ["done"]


def test_threads_the_user_set_are_left_alone():
    found = thread_settings({"OMP_NUM_THREADS": "7"}, 2)
    assert "OMP_NUM_THREADS" not in found
    assert set(found.values()) == {"2"}
    assert "OPENBLAS_NUM_THREADS" in found


def test_networks_side_by_side_share_what_a_container_allows_unless_the_user_said_how_much(tmp_path):
    if len(os.sched_getaffinity(0)) > 1:  # else there is nothing that a quota could take away
        assert _run(_QUOTA, tmp_path) == ["1", "4"]
        assert _run(_QUOTA, tmp_path, "3") == ["3", "None"]


def test_a_number_that_is_set_late_is_the_users_too(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in shared_out(8, 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert shared_out(8, 2)["OMP_NUM_THREADS"] == "4"
