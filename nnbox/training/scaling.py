"""Loss scaling of fp16: gradients of a larger loss, so that small ones do not vanish in 16 bits, divided afterwards.

Everything stays on the device, and nothing is waited for. The rule and its numbers are in `nnbox.rules.steadiness`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from nnbox.rules.steadiness import FIRST_SCALE, LARGEST_SCALE, SCALE_FACTOR, SCALE_STEPS, SMALLEST_SCALE
from nnbox.training.checkpoint import LossScaling


class LossScale:
    """The factor on the loss: halved after an overflow, doubled after enough steps without one.

    Args:
        device: of the loss.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._scale = torch.full((), FIRST_SCALE, device=device)
        self._steps = torch.zeros((), dtype=torch.int32, device=device)

    def backward(self, loss: Tensor, parameters: Iterable[Tensor]) -> None:
        """Leave the gradients of the loss itself with the parameters; what overflowed is not finite."""
        (loss * self._scale).backward()  # type: ignore[no-untyped-call]
        # Powers of two: nothing is rounded.
        torch._foreach_mul_([item.grad for item in parameters if item.grad is not None], self._scale.reciprocal())

    def excuses(self) -> Tensor:
        """Return whether an overflow of the step at hand is ordinary, since a smaller scale may help, as a scalar."""
        return self._scale > SMALLEST_SCALE

    def follow(self, sound: Tensor) -> None:
        """Choose the next step's scale by whether this step overflowed (a scalar on the device)."""
        steps = torch.where(sound, self._steps + 1, 0)
        grown = torch.where(steps == SCALE_STEPS, self._scale * SCALE_FACTOR, self._scale)
        chosen = torch.where(sound, grown, self._scale / SCALE_FACTOR)
        self._scale.copy_(chosen.clamp(SMALLEST_SCALE, LARGEST_SCALE))  # in place: a recorded step reads it there
        self._steps.copy_(torch.where(steps == SCALE_STEPS, 0, steps))

    def state(self) -> LossScaling:
        """Return where it stands; on a GPU this waits."""
        return LossScaling(scale=self._scale.item(), growth_steps=int(self._steps.item()))

    def load(self, state: LossScaling) -> None:
        """Take up a saved state; a scale below the smallest, as older checkpoints may hold, becomes the smallest."""
        self._scale.fill_(max(state.scale, SMALLEST_SCALE))
        self._steps.fill_(state.growth_steps)
