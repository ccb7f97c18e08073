"""A schedule laid out in advance for a time budget: how many steps each network gets, and the rate of each step.

The recipe's own rule (the rate falls when the loss has not improved for 30 epochs) cannot be laid out in advance, since
nobody knows when it will end. With a time budget the rate falls by a declared curve instead, from the recipe's first
rate to the recipe's last, over as many steps as the time allows; every network gets the same number of them, as in the
recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnbox.recipes import Recipe
from nnbox.records.plan import Decision

LAYOUT = "schedule"
"""Subject of the plan's decision for a time budget."""
DECAY_POWER = 0.9
LEAST_EPOCHS = 20
LEAST_STEPS = 2 * LEAST_EPOCHS
_ROUNDING = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What one network that is not finished still costs.

    Attributes:
        step_seconds: a training step, with its share of validation steps and of what an epoch takes besides.
        other_seconds: what does not depend on the number of steps: its start, its end, its out-of-fold predictions.
        left: share of its schedule that is still to be trained, 1 before the first step.
    """

    step_seconds: float
    other_seconds: float = 0.0
    left: float = 1.0

    def seconds(self, steps: int) -> float:
        """Return the seconds to its end when a whole schedule has so many steps."""
        return self.left * steps * self.step_seconds + self.other_seconds


def laid_out_rate(recipe: Recipe, progress: float) -> float:
    """Return the learning rate after a share ``progress`` of a laid-out schedule.

    stop_rate + (learning_rate - stop_rate) · (1 - progress)^0.9: the recipe's first rate at 0, its last at 1.

    Source: own (the polynomial decay that later versions of nnU-Net use, between this recipe's two rates)
    """
    left = min(1.0, max(0.0, 1.0 - progress))
    return recipe.stop_rate + (recipe.learning_rate - recipe.stop_rate) * math.pow(left, DECAY_POWER)


def decide_layout(recipe: Recipe, budget_seconds: float) -> Decision:
    """State in the plan that the schedule is not the recipe's own.

    Source: own
    """
    return Decision(
        subject=LAYOUT,
        rule=laid_out_rate.__name__,
        source="own",
        inputs={
            "time_budget_seconds": budget_seconds,
            "first_rate": recipe.learning_rate,
            "last_rate": recipe.stop_rate,
            "power": DECAY_POWER,
        },
        outcome="laid out for a time budget",
        sentence=(
            f"For a time budget of {duration_words(budget_seconds)} the steps of every network are laid out from "
            f"measured step times, equal for all; the rate falls from {recipe.learning_rate:g} to "
            f"{recipe.stop_rate:g} with (1 - progress)^{DECAY_POWER:g} instead of by the recipe's own rule. How many "
            "steps there are is in the log and in time_budget.json."
        ),
    )


def duration_words(seconds: float) -> str:
    """Write a budget as it is typed, without rounding: ``12h``, ``1d12h``, ``6m``.

    Source: own
    """
    rest, words = round(seconds), ""
    for unit, letter in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, rest = divmod(rest, unit)
        words += f"{count}{letter}" if count else ""
    return words


def ends_after_seconds(costs: Sequence[NetworkCost], steps: int, busy_seconds: Sequence[float]) -> float:
    """Return when the last network ends, if each waits in order for the first place that is free.

    Args:
        costs: of the networks that wait, in the order of work.
        steps: of a whole schedule.
        busy_seconds: one entry per place where a network can be trained: seconds until it is free.

    Source: own
    """
    free = sorted(busy_seconds)
    for cost in costs:
        free[0] += cost.seconds(steps)
        free.sort()
    return max(free)


def steps_that_fit(
    costs: Sequence[NetworkCost], seconds: float, recipe: Recipe, busy_seconds: Sequence[float] = (0.0,)
) -> int:
    """Return the largest number of steps per network, equal for all, with which everything ends in time.

    Never more than the recipe's own maximum; 0 when not even what does not depend on steps fits.

    Args:
        costs: of the networks that wait, in the order of work.
        seconds: until all must be done.
        recipe: for its maximum.
        busy_seconds: see `ends_after_seconds`.

    Source: own
    """
    low, high = 0, recipe.maximum_epochs * recipe.iterations_per_epoch
    while low < high:
        middle = (low + high + 1) // 2
        if ends_after_seconds(costs, middle, busy_seconds) <= seconds:
            low = middle
        else:
            high = middle - 1
    return low


def divide_into_epochs(steps: int, recipe: Recipe) -> tuple[int, int]:
    """Return epochs and training steps per epoch of a schedule of at most so many steps (and at least `LEAST_STEPS`).

    Epochs are as long as the recipe's, or shorter where fewer than 20 would be left: moving averages and curves are to
    mean something, and the layout is looked at again after each.

    Source: own
    """
    steps = max(steps, LEAST_STEPS)
    epochs = max(LEAST_EPOCHS, math.ceil(steps / recipe.iterations_per_epoch))
    return epochs, steps // epochs


def epochs_that_fit(epoch_seconds: float, seconds_left: float) -> int:
    """Return how many epochs are still to be trained, at least 1; a tenth of an epoch too long counts as fitting.

    Args:
        epoch_seconds: how long an epoch of this network takes, above 0.
        seconds_left: of the network's share of the budget.

    Source: own
    """
    return max(1, math.floor(min(seconds_left / epoch_seconds + _ROUNDING, 1e9)))
