"""Workers leave signals to their parent, end at once when it must end, and never outlive it."""

import os
import signal
import subprocess
import sys
import time

import pytest

_SCRIPT = """
import os, sys, time
from nnbox.interruption import listen_for_signals
from nnbox.processes import process_pool

def who(_):
    time.sleep(0.5)  # long enough that each of the two takes one
    return os.getpid()

def sleep(_):
    time.sleep(600)

if __name__ == "__main__":
    listen_for_signals()
    with process_pool(2) as pool:
        print(*set(pool.map(who, range(4))), flush=True)
        for future in [pool.submit(sleep, n) for n in range(5)]:
            future.result()
"""


def lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def sleeping(tmp_path):
    """A process whose two workers sleep, as leader of its own process group; and the workers' ids."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    parent = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = [int(word) for word in parent.stdout.readline().split()]
    yield parent, workers
    parent.kill()
    parent.communicate()


def gone(processes):
    for _ in range(100):
        if not any(lives(process) for process in processes):
            return True
        time.sleep(0.1)
    return False


def test_no_worker_outlives_a_killed_parent(sleeping):
    parent, workers = sleeping
    assert len(workers) == 2
    parent.kill()
    assert gone(workers)


def test_a_parent_told_to_end_does_not_wait_for_its_workers(sleeping):
    parent, workers = sleeping
    parent.send_signal(signal.SIGTERM)
    _, errors = parent.communicate(timeout=30)
    assert parent.returncode == 143, errors
    assert gone(workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_the_parents_affair(sleeping, number):
    """A scheduler's SIGTERM and Ctrl-C reach every process of the group: only the parent may say how it ends."""
    parent, workers = sleeping
    os.killpg(parent.pid, number)
    _, errors = parent.communicate(timeout=30)
    assert parent.returncode in {143, 1, 130, -signal.SIGINT}, errors
    assert "BrokenProcessPool" not in errors
    assert gone(workers)
