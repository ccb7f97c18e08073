"""What runs on a CUDA card only: `make card-test`, on a machine that has one (tests/card/card_*.py)."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch
from step_plans import HIPPOCAMPUS, batches, job, write_cases


def pytest_sessionstart():
    """End at once where there is no card, or kernels would be interpreted: nothing here says anything then.

    The variable cannot be set here: every run of the tests reads this file, whatever it is about.
    """
    if os.environ["TRITON_INTERPRET"] != "0":
        pytest.exit("set TRITON_INTERPRET=0 (make card-test does): kernels are compiled here", returncode=1)
    if not torch.cuda.is_available():
        pytest.exit("no CUDA card here; these tests run on a machine that has one", returncode=1)


@pytest.fixture(scope="session")
def card():
    """The card's device."""
    return torch.device("cuda:0")


@pytest.fixture(scope="session")
def plan():
    """A small plan whose features are no multiples of eight, and whose patch reaches beyond its cases."""
    return replace(HIPPOCAMPUS, patch=(24, 32, 24), batch=3, pools=2, features=6, case=(30, 36, 28))


@pytest.fixture(scope="session")
def home(plan, tmp_path_factory):
    """A folder with made-up prepared cases."""
    folder = tmp_path_factory.mktemp("cases")
    write_cases(plan, folder, 4)
    return folder


@pytest.fixture
def unit(plan, home, tmp_path):
    """Makes a training unit on those cases."""

    def make(device="cuda:0", **changes):
        made = replace(job(plan, home, device=device), folder=tmp_path / "fold", epochs=3, iterations=4, **changes)
        made.folder.mkdir(exist_ok=True)
        return made

    return make


@pytest.fixture(scope="session")
def some_batches(plan):
    """Batches that are ready, on the host."""
    return batches(plan, 6)
