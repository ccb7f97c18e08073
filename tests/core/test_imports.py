"""What a command does not need, it does not import."""

from __future__ import annotations

import subprocess
import sys

import pytest


def imported(module):
    script = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["nnbox.stages.train", "nnbox.stages.preprocess", "nnbox.intake.workers"])
def test_what_comes_before_training_imports_no_torch(module):
    assert not imported(module) & {"torch", "pandas", "batchgenerators", "matplotlib", "scipy"}


def test_help_imports_neither_numpy_nor_torch():
    assert not imported("nnbox.cli") & {"torch", "numpy", "scipy", "SimpleITK"}


@pytest.mark.parametrize("module", ["nnbox.training.loop", "nnbox.inference.label_map", "nnbox.inference.model"])
def test_training_and_predicting_on_a_device_need_no_image_library(module):
    """What `benchmarks/gpu.py` runs on a machine that has torch and few other wheels."""
    needless = {"SimpleITK", "batchgenerators", "isal", "cc3d", "skimage", "matplotlib", "rich", "typer"}
    assert not imported(module) & needless
