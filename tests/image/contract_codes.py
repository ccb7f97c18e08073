"""Every exit code that the README lists, each met in a container."""

import subprocess

import pytest
from container import DOCKER, IMAGE, TINY, cards, docker, nnbox, shell, wait_for


def test_a_container_without_words_says_what_to_do():
    done = nnbox(check=False)
    assert done.code == 2
    assert "docker run --gpus all -v data:/input nnbox train" in done.err
    assert "Traceback" not in done.err


def test_0_done():
    assert nnbox("--version").code == 0


def test_2_the_command_line():
    done = nnbox("train", "--fold", "1", check=False)
    assert done.code == 2
    assert "--fold" in done.err


def test_3_the_data_set():
    done = nnbox("inspect", check=False)
    assert done.code == 3
    assert "/input" in done.err


def test_4_no_feasible_plan(folder):
    done = nnbox("plan", "--planning-memory", "1e-7", options=("-v", f"{folder}/Task01_Smoke:/input:ro"), check=False)
    assert done.code == 4, done


def test_5_a_card_that_is_not_there(filled):
    done = nnbox("train", "--device", "cuda", options=(*cards(), "-v", f"{filled}:/input"), check=False)
    assert done.code == 5
    assert "0 CUDA devices are visible" in done.err
    assert "--gpus all" in done.err


def test_auto_says_aloud_what_it_took(trained):
    _, run = trained
    assert "device: cpu" in run.out


# A loss that is not finite cannot be had from sound data, so that the arithmetic is broken on purpose.
_BROKEN_LOSS = """
import sys
sys.argv[0] = "/app/entrypoint.py"
sys.path.insert(0, "/app")
import torch
from nnbox.training import learner
original = learner.segmentation_loss
learner.segmentation_loss = lambda *a, **k: original(*a, **k) * float("nan")
from nnbox.cli import main
sys.exit(main())
"""


def test_6_training_failed(filled, tmp_path):
    script = tmp_path / "broken.py"
    script.write_text(_BROKEN_LOSS)
    script.chmod(0o644)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    done = docker(
        *("run", "--rm", "-v", f"{filled}:/input", "-v", f"{script}:/broken.py:ro"),
        *("--entrypoint", "/opt/nnbox/bin/python", IMAGE, "/broken.py"),
        *("train", "--input", "/input/Task01_Smoke", "--workers", "0", *TINY),
    )
    assert done.code == 6, done
    assert "in epoch 1 the loss or its gradients were not finite numbers in 2 of 2 steps" in done.err
    assert "Traceback" not in done.err


def test_7_an_archive_that_is_refused(trained):
    volume, _ = trained
    script = "cd /input/nnbox/submission && head -c 500 Task01_Smoke.zip > /input/damaged.zip"
    shell(script, "-v", f"{volume}:/input", user="1000:1000")
    words = ("check-submission", "/input/damaged.zip", "--input", "/input/Task01_Smoke")
    done = nnbox(*words, options=("-v", f"{volume}:/input:ro"), check=False)
    assert done.code == 7, done


def test_70_a_bug_asks_to_be_reported(tmp_path):
    module = tmp_path / "verbs.py"
    module.write_text("def decide(*words):\n    raise RuntimeError('planted')\n")
    module.chmod(0o644)
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    done = nnbox(options=("-v", f"{module}:/app/nnbox/verbs.py:ro"), check=False)
    assert done.code == 70, done
    assert "this is a bug in nnbox" in done.err


@pytest.mark.parametrize(("signal", "code"), [("INT", 130), ("TERM", 143), ("KILL", 137)])
def test_130_143_and_137_tell_what_ended_it(filled, signal, code):
    words = ["run", "--rm", "--name", f"nnbox-test-{signal}", "-v", f"{filled}:/input", IMAGE, "train", *TINY[:2]]
    running = subprocess.Popen([DOCKER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(f"nnbox-test-{signal}", "device:")
    docker("kill", "--signal", signal, f"nnbox-test-{signal}", check=True)
    _, errors = running.communicate(timeout=30)
    assert running.returncode == code, errors
    assert "Traceback" not in errors
    if signal != "KILL":
        assert "the same command continues" in errors
