"""What becomes of training steps whose loss or gradients are not finite. Source: own.

Such a step is left out: the weights stay as they are, and its loss counts as not a number. A few do no harm. Many in a
row mean that the training broke down; see `broke_down`. In fp16 some overflow is ordinary: it halves the factor on the
loss, and counts only once that factor is as small as it gets, so that no training leaves out steps for ever.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_IN_A_ROW = 10
"""So many steps left out in a row, within an epoch, are a breakdown."""
LOOK_STEPS = 10
"""On a CPU the losses are looked at after so many steps; on a GPU when the epoch ends, since looking means waiting."""
FIRST_SCALE = 65536.0
"""fp16 multiplies the loss by so much at first (torch's values, here and for the two that follow), …"""
SCALE_FACTOR = 2.0
"""… by half as much after a step that overflowed, which is left out, …"""
SCALE_STEPS = 2000
"""… and by twice as much after so many steps without an overflow, …"""
SMALLEST_SCALE, LARGEST_SCALE = 1.0, 2.0**24
"""… but never by less or more. An overflow at the smallest is no matter of scale, and counts as what is not finite."""


def broke_down(losses: Sequence[float]) -> bool:
    """Whether ten steps in a row were left out.

    Then training goes back to the last checkpoint and on in float32, once; the second time it ends.

    Source: own

    Args:
        losses: of an epoch's steps so far, in order; those left out are not finite.
    """
    run = 0
    for loss in losses:
        run = 0 if math.isfinite(loss) else run + 1
        if run == MOST_IN_A_ROW:
            return True
    return False


def mean_of_sound(losses: Sequence[float]) -> float | None:
    """Return the mean of the finite losses; None where there are none, which is a breakdown, too.

    Source: own
    """
    sound = [loss for loss in losses if math.isfinite(loss)]
    return math.fsum(sound) / len(sound) if sound else None


def left_out(losses: Sequence[float]) -> int:
    """Return how many steps were left out.

    Source: own
    """
    return sum(not math.isfinite(loss) for loss in losses)
