"""`nnbox.training.noise` in torch: the same numbers, made where they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nnbox.training.noise import MIXERS, STEP, UNIT


def white_noise_on(device: torch.device, seed: int, shape: Sequence[int]) -> Tensor:
    """Return the numbers of `white_noise`, computed on a device in signed 32-bit words: the same bits."""
    count = int(np.prod(shape))
    words = torch.arange(count, dtype=torch.int64, device=device).to(torch.int32)
    words = words.mul_(_signed(STEP)).add_(_signed(seed & 0xFFFFFFFF))
    words = _mixed_on(words).add_(_signed(seed >> 32))
    return _mixed_on(words).to(torch.float32).mul_(UNIT).reshape(tuple(shape))


def _mixed_on(words: Tensor) -> Tensor:
    for shift, mixer in ((16, MIXERS[0]), (15, MIXERS[1])):
        words = words.bitwise_xor_(_shifted(words, shift)).mul_(_signed(mixer))
    return words.bitwise_xor_(_shifted(words, 16))


def _shifted(words: Tensor, places: int) -> Tensor:
    """Shift right without drawing the sign along."""
    return (words >> places).bitwise_and_((1 << (32 - places)) - 1)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word
