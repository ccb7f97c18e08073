"""What a training tells while it runs, and the table it leaves."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.files import atomic_write_text
from nnbox.records.engine import Engine

WARM_UP_STEPS = 2
MEASURED_STEPS = 20
COLUMNS = ("epoch", "rate", "training_loss", "validation_loss", "training_average", "validation_average")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        configuration, fold: of which unit.
        epoch: 1-based.
        maximum_epochs: the schedule's limit.
        rate: learning rate of this epoch; where it falls with every step, that of the last.
        training_loss, validation_loss: means over the epoch's steps.
        training_average, validation_average: their moving averages.
        dice: per foreground label the Dice over all validation patches taken together (a rough guide, on random
            patches, for display only); None where neither reference nor prediction holds the label.
        seconds: wall-clock time of the epoch.
        left_out: steps that were left out since their loss or gradients were not finite.
    """

    configuration: str
    fold: int
    epoch: int
    maximum_epochs: int
    rate: float
    training_loss: float
    validation_loss: float
    training_average: float
    validation_average: float
    dice: tuple[float | None, ...]
    seconds: float
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Something went wrong, and what is done about it, in a sentence for the user."""

    configuration: str
    fold: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """How long a training step takes, measured once per unit, so that the total can be projected.

    Attributes:
        configuration, fold: of which unit.
        steps: how many steps were measured (warm-up left out).
        seconds_per_step: their mean wall-clock time, data included.
        steps_left: training steps of this unit that are still to come, by the schedule's limit.
    """

    configuration: str
    fold: int
    steps: int
    seconds_per_step: float
    steps_left: int


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A training step was taken: the work goes on."""


_TAKEN = StepTaken()
Report = Engine | EpochRecord | StepTaken | StepTiming | Setback


class StepTimer:
    """Reports every step, and once the mean time of the first ones after a warm-up.

    Args:
        unit: configuration and fold.
        steps: training steps of one epoch, and those left in the whole unit.
        synchronize: waits until the device has done what was asked of it.
        report: is told.
    """

    def __init__(
        self,
        unit: tuple[str, int],
        steps: tuple[int, int],
        synchronize: Callable[[], None],
        report: Callable[[Report], None],
    ) -> None:
        self._unit, self._synchronize, self._report = unit, synchronize, report
        self._warm_up, self._left = min(WARM_UP_STEPS, steps[0] - 1), steps[1]
        self._done, self._told, self._started = 0, False, time.perf_counter()

    def count_step(self) -> None:
        """Count one step and tell of it; tell how long they take when enough were measured."""
        self._done += 1
        self._report(_TAKEN)
        if self._done == self._warm_up and not self._told:
            self._synchronize()
            self._started = time.perf_counter()
        if self._done == self._warm_up + MEASURED_STEPS:
            self.tell()

    def tell(self) -> None:
        """Tell what was measured so far, unless that was told before (an epoch may have fewer steps)."""
        measured = self._done - self._warm_up
        if self._told or measured < 1:
            return
        self._synchronize()
        seconds = (time.perf_counter() - self._started) / measured
        self._told = True
        self._report(
            StepTiming(
                configuration=self._unit[0],
                fold=self._unit[1],
                steps=measured,
                seconds_per_step=seconds,
                steps_left=self._left - self._done,
            )
        )


def write_progress(path: Path, history: Sequence[EpochRecord]) -> None:
    """Write one row per epoch as CSV, atomically; an undefined Dice is an empty cell."""
    labels = len(history[0].dice) if history else 0
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*COLUMNS, *(f"dice_{label + 1}" for label in range(labels)), "seconds"))
    for record in history:
        dice = ("" if value is None else f"{value:.6f}" for value in record.dice)
        writer.writerow((*(getattr(record, name) for name in COLUMNS), *dice, record.seconds))
    atomic_write_text(path, text.getvalue())


def told(average: float | None) -> float:
    """Return a moving average of an epoch that is over."""
    if average is None:
        raise ValueError("a moving average is missing after an epoch")
    return average
