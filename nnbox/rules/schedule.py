"""The learning rate over the epochs, and when training ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nnbox.recipes import Recipe
from nnbox.rules.time_budget import laid_out_rate

TRAINING_MOMENTUM = 0.93
VALIDATION_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """Where the schedule stands after ``epoch`` epochs.

    Attributes:
        epoch: epochs done.
        rate: learning rate of the next epoch.
        training_average, validation_average: moving averages of the losses (lower is better), None before the first.
        training_best, validation_best: lowest averages that counted as an improvement.
        training_bad_epochs: epochs since the training average improved, or since the last drop of the rate.
        validation_bad_epochs: epochs since the validation average improved.
        finished: why training is over, in words; None while it goes on.
        progress: share of a schedule that was laid out in advance (for a time budget); None: the recipe's own rules.
        epochs_left: of a laid-out schedule; it may be changed between epochs, see `continue_for`.
    """

    epoch: int
    rate: float
    training_average: float | None = None
    validation_average: float | None = None
    training_best: float | None = None
    validation_best: float | None = None
    training_bad_epochs: int = 0
    validation_bad_epochs: int = 0
    finished: str | None = None
    progress: float | None = None
    epochs_left: int | None = None


def first_state(recipe: Recipe) -> ScheduleState:
    """Return the state before the first epoch.

    Source: 2018 §2.3, 2019 §2.2 (rate 3e-4)
    """
    return ScheduleState(epoch=0, rate=recipe.learning_rate)


def first_laid_out_state(recipe: Recipe, epochs: int) -> ScheduleState:
    """Return the state before the first of so many epochs of a schedule that is laid out in advance.

    Source: own
    """
    return ScheduleState(epoch=0, rate=recipe.learning_rate, progress=0.0, epochs_left=epochs)


def continue_for(state: ScheduleState, recipe: Recipe, epochs: int) -> ScheduleState:
    """Lay out the rest of a schedule anew: it is to take so many epochs more (at least 1), whatever was planned.

    The rate goes on from where it is and still reaches its end. A schedule that is over, or that was not laid out,
    stays as it is.

    Source: own
    """
    if state.progress is None or state.finished is not None:
        return state
    return replace(state, epochs_left=max(1, min(epochs, recipe.maximum_epochs - state.epoch)))


def last_epoch(state: ScheduleState, recipe: Recipe) -> int:
    """Return the number of the last epoch, as far as it is known: the recipe's maximum, or the layout's end.

    Source: own
    """
    return recipe.maximum_epochs if state.epochs_left is None else state.epoch + state.epochs_left


def rate_of_step(state: ScheduleState, recipe: Recipe, step: int) -> float:
    """Return the rate of a training step of the next epoch; ``step`` counts from 0.

    The recipe's own rate is the same for a whole epoch. A laid-out one falls with every step, and the last step of the
    schedule is taken at the recipe's last rate.

    Source: own
    """
    if state.progress is None or state.epochs_left is None:
        return state.rate
    share = (step + 1) / (state.epochs_left * recipe.iterations_per_epoch)
    return laid_out_rate(recipe, state.progress + (1 - state.progress) * share)


def next_state(state: ScheduleState, recipe: Recipe, training_loss: float, validation_measure: float) -> ScheduleState:
    """Take one epoch's losses into account.

    The averages move, the rate drops when the training average has not improved for the recipe's patience, and the
    first stopping rule that holds ends the training. In a schedule that was laid out the rate follows its curve, and
    only the layout's end ends the training.

    Args:
        state: before the epoch.
        recipe: its thresholds and patience; ``maximum_epochs`` may have been replaced by ``--epochs``.
        training_loss: mean over the epoch's iterations.
        validation_measure: mean validation loss, lower is better.

    Source: 2018 §2.3, 2019 §2.2, release
    """
    training = moving_average(state.training_average, training_loss, TRAINING_MOMENTUM)
    validation = moving_average(state.validation_average, validation_measure, VALIDATION_MOMENTUM)
    training_best, training_bad = count_bad_epoch(
        training, state.training_best, state.training_bad_epochs, recipe.rate_threshold
    )
    validation_best, validation_bad = count_bad_epoch(
        validation, state.validation_best, state.validation_bad_epochs, recipe.stop_threshold or 0.0
    )
    rate = state.rate
    if training_bad > recipe.rate_patience_epochs:
        rate, training_bad = rate * recipe.rate_factor, 0
    following = replace(
        state,
        epoch=state.epoch + 1,
        rate=rate,
        training_average=training,
        validation_average=validation,
        training_best=training_best,
        validation_best=validation_best,
        training_bad_epochs=training_bad,
        validation_bad_epochs=validation_bad,
    )
    if state.progress is not None and state.epochs_left is not None:
        return _next_laid_out(following, recipe, state.progress, state.epochs_left)
    return replace(following, finished=why_finished(following, recipe))


def _next_laid_out(following: ScheduleState, recipe: Recipe, progress: float, epochs_left: int) -> ScheduleState:
    """Move one epoch on in a laid-out schedule."""
    left = epochs_left - 1
    progress = 1.0 if left == 0 else progress + (1 - progress) / epochs_left
    over = f"layout: the schedule laid out for the time budget is at its end after {following.epoch} epochs"
    return replace(
        following,
        rate=laid_out_rate(recipe, progress),
        progress=progress,
        epochs_left=left,
        finished=over if left == 0 else None,
    )


def moving_average(old: float | None, new: float, momentum: float) -> float:
    """Return momentum · old + (1 - momentum) · new; the first value starts it.

    Source: 2018 §2.3, release (momenta)
    """
    return new if old is None else momentum * old + (1 - momentum) * new


def count_bad_epoch(value: float, best: float | None, bad_epochs: int, threshold: float) -> tuple[float, int]:
    """Return the best value and the number of bad epochs after one more epoch.

    An epoch is good when the value is below the best by more than ``threshold`` (absolute); it becomes the best and
    the count starts again. As torch's ReduceLROnPlateau counts in mode min.

    Source: 2018 §2.3, release
    """
    if best is None or value < best - threshold:
        return value, 0
    return best, bad_epochs + 1


def why_finished(state: ScheduleState, recipe: Recipe) -> str | None:
    """Return the stopping rule that holds, in words, or None.

    "Not improved for 60 epochs" holds at the 61st bad epoch, as the rate's rule counts.

    Source: 2018 §2.3, 2019 §2.2; own (2018: at most 1000 epochs)
    """
    if state.rate < recipe.stop_rate:
        return f"rate: the learning rate fell to {state.rate:.1e}, below {recipe.stop_rate:.0e}"
    patience = recipe.stop_patience_epochs
    if patience is not None and state.validation_bad_epochs > patience:
        return f"plateau: the validation average has not improved by {recipe.stop_threshold} for {patience} epochs"
    if state.epoch >= recipe.maximum_epochs:
        return f"epochs: {state.epoch} epochs are done"
    return None
