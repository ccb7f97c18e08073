"""`nnbox.training.noise` in torch: the same numbers, made where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nnbox.training.noise import MIXERS, STEP, UNIT


def seed_words(seed: int) -> tuple[int, int]:
    """Return a seed as two signed words, the lower first."""
    return _signed(seed & 0xFFFFFFFF), _signed(seed >> 32)


def white_noise_on(words: Tensor, shape: Sequence[int]) -> Tensor:
    """Return (seeds, *shape): for each seed the numbers of `white_noise`, the same bits, in signed 32-bit words.

    Args:
        words: int32 (seeds, 2), of `seed_words`, on the device that computes.
        shape: of one seed's numbers.
    """
    lower, higher = words.unbind(dim=1)
    places = torch.arange(int(np.prod(shape)), dtype=torch.int32, device=words.device).mul_(_signed(STEP))
    found = _mixed_on(places + lower.unsqueeze(1)).add_(higher.unsqueeze(1))
    return _mixed_on(found).to(torch.float32).mul_(UNIT).reshape(-1, *shape)


def _mixed_on(words: Tensor) -> Tensor:
    for shift, mixer in ((16, MIXERS[0]), (15, MIXERS[1])):
        words = words.bitwise_xor_(_shifted(words, shift)).mul_(_signed(mixer))
    return words.bitwise_xor_(_shifted(words, 16))


def _shifted(words: Tensor, places: int) -> Tensor:
    """Shift right without drawing the sign along."""
    return (words >> places).bitwise_and_((1 << (32 - places)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word
