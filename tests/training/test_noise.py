from __future__ import annotations

import numpy as np
import pytest
import torch

from nnbox.training.noise import white_noise
from nnbox.training.noise_on_device import seed_words, white_noise_on


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 + 5, 2**63 - 1])
def test_numpy_and_torch_make_the_same_noise(seed):
    shape = (3, 37, 701)  # more than a piece
    words = torch.tensor([seed_words(5), seed_words(seed)], dtype=torch.int32)
    found = white_noise_on(words, shape).numpy()
    assert np.array_equal(white_noise(5, shape), found[0])
    assert np.array_equal(white_noise(seed, shape), found[1])


def test_noise_is_uniform_and_white():
    noise = white_noise(11, (64, 64, 64)).astype(np.float64)
    assert noise.min() >= -1
    assert noise.max() <= 1
    counts = np.histogram(noise, bins=32, range=(-1, 1))[0]
    assert ((counts - noise.size / 32) ** 2 / (noise.size / 32)).sum() < 70  # chi squared, 31 degrees of freedom
    for axis in range(3):
        for distance in (1, 2, 16):
            ahead, behind = np.delete(noise, range(distance), axis), np.roll(noise, distance, axis)
            behind = np.delete(behind, range(distance), axis)
            assert abs(np.corrcoef(ahead.ravel(), behind.ravel())[0, 1]) < 0.01


@pytest.mark.parametrize("other", [12, 11 + 2**32, 11 + 2**40])
def test_another_seed_gives_other_noise(other):
    one, two = white_noise(11, (50_000,)), white_noise(other, (50_000,))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
