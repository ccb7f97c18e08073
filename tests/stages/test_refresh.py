"""The process that keeps the report fresh ends with the run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

_RUN = """
import sys, time
from pathlib import Path
from nnbox.stages import refresh
from nnbox.stages.journal import Journal
from nnbox.stages.workspace import Workspace

refresh.LEAST_SECONDS = 0.0
out = Path(sys.argv[1])
refresher = refresh.Refresher(Workspace(out), out, Journal(None))
assert refresher.refresh()
print(refresher._process.pid, flush=True)
time.sleep(600)
"""


def lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def until(true):
    for _ in range(600):
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def run(tmp_path):
    """A run whose report never gets done, since a file of the run never comes to its end; and the report's process."""
    os.mkfifo(tmp_path / "log.jsonl")
    process = subprocess.Popen([sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.communicate()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def test_no_report_is_written_on_for_a_killed_run(run):
    process, child = run
    process.kill()  # before the other process could have a look at it
    assert until(lambda: not lives(child))


def test_a_report_that_is_being_written_ends_with_its_killed_run(run, tmp_path):
    process, child = run
    with writing_end(tmp_path / "log.jsonl"):  # from now on it waits for words that never come
        assert lives(child)
        process.kill()
        assert until(lambda: not lives(child))


@contextlib.contextmanager
def writing_end(pipe):
    """Open a pipe as soon as somebody reads from it."""
    found = []

    def is_open():
        with contextlib.suppress(OSError):
            found.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(found)

    assert until(is_open)
    yield
    os.close(found[0])
