"""SIGTERM in every stage: the state is saved, the exit code is 143, and a new container continues at once."""

import subprocess
import time
import uuid

from container import DOCKER, IMAGE, docker, nnbox, shell, wait_for

# Long enough in every stage that a signal can meet it.
_WORDS = ("train", "--configurations", "2d", "--folds", "0,1", "--epochs", "2", "--iterations", "60")
_WORDS += ("--planning-memory", "0.007")
_SECONDS = 6.0
# What is printed when a stage is at work, in the order of the line.
_MOMENTS = ("device:", "preprocess:", "epoch 1", "validation cases predicted", "scoring", "model:", "predicted smoke")


def begin(volume, name):
    options = ("--name", name, "-v", f"{volume}:/input")
    return subprocess.Popen(
        [DOCKER, "run", *options, IMAGE, *_WORDS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_run_stopped_in_every_stage_ends_as_if_it_had_never_been_stopped(filled):
    stops_of_others = 0
    moments = list(_MOMENTS)
    while moments:
        moment, name = moments[0], f"nnbox-test-stop-{uuid.uuid4().hex[:8]}"
        process = begin(filled, name)
        try:
            reached = wait_for(name, moment, required=False)
            started = time.monotonic()
            docker("stop", "--time", "30", name, check=reached)
            seconds = time.monotonic() - started
            _, errors = process.communicate(timeout=60)
        finally:
            docker("rm", "--force", name)
        if not reached and process.returncode == 143 and not stops_of_others:
            stops_of_others += 1  # a machine under load ended it: one stop more, which has to be as harmless
            assert "the same command continues" in errors, (moment, errors)
            continue
        assert reached, (moment, process.returncode, errors)
        moments.pop(0)
        if process.returncode == 0:  # the last stages are short: it may have been done before it was told
            assert moment in _MOMENTS[-3:]
            continue
        assert process.returncode == 143, (moment, errors)
        assert seconds < _SECONDS, (moment, seconds)
        assert "the same command continues" in errors, (moment, errors)
        assert "Traceback" not in errors, (moment, errors)
    end = nnbox(*_WORDS, options=("-v", f"{filled}:/input"))
    assert "was killed" not in end.err
    assert "passes every check" in end.out
    assert end.out.count("trained 2 epochs") == 0, "what was trained is not trained again"
    assert shell("ls /input/nnbox/predictions | wc -l", "-v", f"{filled}:/input").strip() == "6"


# Training that takes more memory with every step, as a leak or a case too large would.
_GREEDY = """
import sys
sys.argv[0] = "/app/entrypoint.py"
sys.path.insert(0, "/app")
import time
import numpy
from nnbox.training.learner import Learner
original, kept = Learner.gradients, []
def gradients(self, batch):
    kept.append(numpy.ones(5_000_000))
    time.sleep(0.3)
    return original(self, batch)
Learner.gradients = gradients
from nnbox.cli import run
run()
"""


def test_a_memory_kill_is_explained_by_the_next_start(filled, tmp_path):
    script = tmp_path / "greedy.py"
    script.write_text(_GREEDY)
    script.chmod(0o644)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    words = (*_WORDS, "--input", "/input", "--output", "/input/nnbox", "--workers", "0")
    killed = docker(
        *("run", "--rm", "--memory", "1200m", "--memory-swap", "1200m", "-v", f"{script}:/greedy.py:ro"),
        *("-v", f"{filled}:/input", "--entrypoint", "/opt/nnbox/bin/python", IMAGE, "/greedy.py", *words),
    )
    assert killed.code == 137, killed
    again = nnbox(*_WORDS[:-4], "--until", "preprocess", *_WORDS[-4:], options=("-v", f"{filled}:/input"))
    assert "the run before this one was killed" in again.err
    assert "of the 1.3 GB it was allowed" in again.err  # 1200 MiB
    assert "docker run --memory" in again.err
