"""A hung process that a kill does not end as it should keeps its run waiting for seconds, not for ever."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nnbox.errors import ResourceError
from nnbox.network.device import choose_device
from nnbox.stages import crew
from nnbox.stages.agenda import Turn
from nnbox.stages.crew import Crew
from nnbox.stages.hand import Hand
from nnbox.stages.order import Alive, news_line
from nnbox.supervision import VARIABLE

PLACE = ("3d_fullres", 1)
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
# Says one word, hands its output on to a process that sleeps, and sleeps, too.
TWO_SLEEPERS = f"""
import subprocess, time
other = subprocess.Popen({SLEEP!r})
print({news_line(Alive())!r}, end="", flush=True)
time.sleep(60)
"""
WORD = f"import time; print({news_line(Alive())!r}, end='', flush=True); time.sleep(60)"


class Claim:
    """A claim that is never lost."""

    def require_held(self):
        pass

    def is_lost(self):
        return False


class Agenda:
    """One network, to be trained so often; keeps how its turns ended."""

    def __init__(self, turns):
        self.left, self.ended = turns, []

    def take(self, suits):
        if not self.left or not suits(PLACE[0]):
            return None
        self.left -= 1
        return Turn(PLACE, Claim())

    def end(self, turn, *, done):
        self.ended.append(done)

    def awaited(self):
        return None


class Unkillable(subprocess.Popen):
    """Stands in for a process that waits for a device that does not answer."""

    def send_signal(self, sig):
        pass


@pytest.fixture
def crew_of(monkeypatch):
    """A crew of quick patience whose next processes are those given; what is started is ended with the test."""
    monkeypatch.setenv(VARIABLE, "0.2")
    monkeypatch.setattr(crew, "_STOP_SECONDS", 1.0)
    monkeypatch.setattr(crew, "_KILL_SECONDS", 0.2)
    told, started = [], []
    journal = SimpleNamespace(warn=lambda event, sentence, facts: told.append(sentence))
    context = SimpleNamespace(journal=journal, refresher=SimpleNamespace(refresh=lambda: None))
    job = SimpleNamespace(devices=(), device=choose_device("cpu"), options=SimpleNamespace(parallel=1))

    def make(*processes):
        coming = iter(processes)

        def start(self, turn, device):
            kind, script = next(coming)
            words = [sys.executable, "-c", script]
            started.append(kind(words, stdout=subprocess.PIPE, start_new_session=True))
            return Hand(started[-1], turn, device)

        monkeypatch.setattr(Crew, "_start", start)
        return Crew(context, job, Agenda(len(processes)), None), told

    yield make
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with what it started
        process.wait(10)


def test_a_killed_process_whose_output_another_holds_open_counts_as_ended(crew_of):
    found, told = crew_of((subprocess.Popen, TWO_SLEEPERS), (subprocess.Popen, "pass"))
    found.work()
    assert found.agenda.ended == [False, True]
    assert [sentence.endswith("begun anew from its last checkpoint") for sentence in told] == [True]


def test_a_process_that_cannot_be_killed_ends_the_run_with_5_and_is_named(crew_of):
    found, told = crew_of((Unkillable, WORD))
    with pytest.raises(ResourceError, match=r"3d_fullres fold 1 \(number \d+\) hung and cannot be killed.*What to do"):
        found.work()
    assert found.agenda.ended == [False]
    assert found.hands == []
    assert len(told) == 1
