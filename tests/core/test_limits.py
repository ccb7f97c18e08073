"""The container's limits count, whichever version of control groups states them and wherever on the way up."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from nnbox.limits import (
    available_cpus,
    available_memory_bytes,
    available_processes,
    is_memory_limited,
    memory_in_use_bytes,
    memory_ran_out,
    unused_memory_bytes,
)

_MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def tree(tmp_path):
    """Writes files below a tree of groups, and the process's own list; returns both paths."""

    def make(own, **files):
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return tmp_path / "groups", tmp_path / "own"

    return make


def test_version_2_as_a_container_sees_it(tree):
    files = {"cpu.max": "100000 100000\n", "memory.max": "300000000\n", "pids.max": "256\n"}
    paths = tree("0::/\n", **files, **{"memory.current": "90000000\n", "memory.stat": "inactive_file 20000000\n"})
    assert available_cpus(*paths) == 1
    assert available_memory_bytes(*paths) == 300_000_000
    assert is_memory_limited(*paths)
    assert available_processes(*paths) == 256
    assert memory_in_use_bytes(*paths) == 70_000_000


def test_version_1_as_a_container_sees_it(tree):
    """Its own list names the host's path, which is not mounted; its limits lie at the top of each controller."""
    files = {
        "cpu/cpu.cfs_quota_us": "100000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "400000000\n",
        "memory/memory.usage_in_bytes": "50000000\n",
        "pids/pids.max": "100\n",
    }
    paths = tree("4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n8:pids:/docker/abc\n", **files)
    assert available_cpus(*paths) == 1
    assert available_memory_bytes(*paths) == 400_000_000
    assert available_processes(*paths) == 100
    assert memory_in_use_bytes(*paths) == 50_000_000


def test_a_limit_of_an_outer_group_holds(tree):
    files = {"job/memory.max": "200000000\n", "job/step/memory.max": "max\n", "job/cpu.max": "100000 100000\n"}
    paths = tree("0::/job/step\n", **files)
    assert available_memory_bytes(*paths) == 200_000_000
    assert available_cpus(*paths) == 1


def test_without_limits_the_machine_counts(tree):
    files = {"cpu.max": "max 100000\n", "memory.max": "max\n", "pids.max": "max\n"}
    old = {"memory/memory.limit_in_bytes": "9223372036854771712\n", "cpu/cpu.cfs_quota_us": "-1\n"}
    for paths in (tree("0::/\n", **files), tree("4:memory:/\n", **old), tree("")):
        assert available_cpus(*paths) == len(os.sched_getaffinity(0))
        assert available_memory_bytes(*paths) == _MACHINE_BYTES
        assert not is_memory_limited(*paths)
        assert available_processes(*paths) is None


def test_half_a_cpu_is_one(tree):
    assert available_cpus(*tree("0::/\n", **{"cpu.max": "50000 100000\n"})) == 1


def test_nothing_readable_is_no_limit(tmp_path):
    paths = (tmp_path / "absent", tmp_path / "absent")
    assert available_cpus(*paths) == len(os.sched_getaffinity(0))
    assert memory_in_use_bytes(*paths) is None


def test_a_limit_of_the_process_itself_counts(tmp_path):
    script = (
        "import resource as r; r.setrlimit(r.RLIMIT_DATA, (700_000_000, r.getrlimit(r.RLIMIT_DATA)[1]));"
        "from nnbox.limits import available_memory_bytes as a, is_memory_limited as i; print(a(), i())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["700000000", "True"]


@pytest.mark.parametrize("allocate", [np.empty, torch.empty])
def test_memory_that_ran_out_is_told_with_what_was_asked_for_whoever_asked(allocate):
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate(1 << 50)
    told = memory_ran_out(caught.value)
    assert told.exit_code == 5
    assert str(told).startswith("memory ran out (")
    assert "allocate" in str(told)
    assert "What to do: give more memory" in str(told)
    assert str(memory_ran_out(MemoryError())).startswith(("memory ran out; ", "memory ran out. "))


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 20.00 GiB.\nmore that nobody needs to read",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_the_memory_of_a_card_that_ran_out_is_told_with_what_helps_there(words):
    told = memory_ran_out(RuntimeError(words))
    assert told.exit_code == 5
    assert str(told).startswith(f"the card's memory ran out ({words.splitlines()[0]}). What to do: end what else")
    assert "--device cpu" in str(told)


def test_another_error_is_not_taken_for_it():
    assert memory_ran_out(RuntimeError("shapes do not match")) is None
    assert memory_ran_out(OSError(12, "Cannot allocate memory")) is None


def test_what_the_machine_could_give_is_read_where_it_tells(tmp_path):
    assert unused_memory_bytes(tmp_path) is None
    (tmp_path / "meminfo").write_text("MemTotal:       24000 kB\nMemAvailable:    7000 kB\nHugePages_Total:       0\n")
    assert unused_memory_bytes(tmp_path) == 7000 * 1024
