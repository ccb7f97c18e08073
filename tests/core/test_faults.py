"""A fault point kills at the place and time that were asked for, and does nothing else."""

import os
import signal
import subprocess
import sys

import pytest

from nnbox.faults import VARIABLE, arm, reached

_SCRIPT = """
from nnbox.faults import reached
for number in range(5):
    print(number, flush=True)
    reached("a step", f"unit {number % 2}")
    reached("another step", "unit 1")
"""


def run(words):
    environment = {**os.environ, VARIABLE: words}
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("words", "last"), [("a step:1", 0), ("a step@unit 1:2", 3), ("another step@unit *:2:alone", 1)]
)
def test_a_run_is_killed_the_last_time_it_may_pass(words, last):
    done = run(words)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split()[-1] == str(last)
    assert "killed" in done.stderr or "alone" in done.stderr


@pytest.mark.parametrize("words", ["", "a step:6", "a step@unit 7:1", "no such step:1"])
def test_a_run_that_is_not_asked_to_goes_to_its_end(words):
    done = run(words)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "4")


@pytest.mark.parametrize("words", ["a step", "a step:0", "a step:x", "a step:1:later", "a step:1:stop:alone"])
def test_words_that_mean_nothing_are_refused(words):
    with pytest.raises(ValueError, match="expected point"):
        arm(words)
    reached("a step")  # and nothing is armed
