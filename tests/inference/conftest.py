import numpy as np
import pytest
import torch


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(autouse=True, scope="session")
def _few_threads():
    torch.set_num_threads(2)
