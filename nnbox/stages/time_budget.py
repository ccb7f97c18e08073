"""Trainings laid out for a time budget: before each network, from what is left and from what was measured so far.

Every network gets the same number of steps. What follows training (choosing, packaging, predicting, the report) is
reserved first. A network that takes longer than its share is shortened while it runs; see `Pacer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nnbox.errors import ResourceError
from nnbox.records.codec import encode, write_record
from nnbox.records.time_budget import BudgetLayout, NetworkLayout
from nnbox.rules.time_budget import (
    LEAST_STEPS,
    NetworkCost,
    divide_into_epochs,
    duration_words,
    ends_after_seconds,
    epochs_that_fit,
    steps_that_fit,
)
from nnbox.stages.budget_clock import BudgetClock, open_clock
from nnbox.stages.budget_reserve import MARGIN, margin_seconds, reserved_seconds
from nnbox.stages.context import Context
from nnbox.stages.continued import continued_layout, trained_share
from nnbox.stages.costs import Costs
from nnbox.stages.job import Job
from nnbox.stages.probing import measure
from nnbox.stages.projection import duration
from nnbox.training.checkpoint import discard_checkpoint
from nnbox.training.job import TrainingJob
from nnbox.training.loader import WorkerPool

Place = tuple[str, int]
_REMEMBERED_EPOCHS = 5


class Pacer:
    """Says before every epoch of a network how many there is still time for in its share of the budget.

    Args:
        now: a clock in seconds.
        until: when the network's training is to end, on that clock.
        epoch_seconds: what an epoch is expected to take.
    """

    def __init__(self, now: Callable[[], float], until: float, epoch_seconds: float) -> None:
        self._now, self._until, self._expected = now, until, epoch_seconds
        self._asked: list[float] = []

    def __call__(self) -> int:
        """Return how many epochs there is time for, at least 1."""
        self._asked.append(self._now())
        return epochs_that_fit(self.epoch_seconds, self._until - self._asked[-1])

    @property
    def epoch_seconds(self) -> float:
        """The mean of the last epochs; the first one, which also warms up, counts only while it is the only one."""
        times = self._asked[1:] if len(self._asked) > 2 else self._asked
        times = times[-_REMEMBERED_EPOCHS - 1 :]
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else self._expected

    @property
    def epochs(self) -> int:
        """How many epochs were begun."""
        return len(self._asked)

    @property
    def measured(self) -> bool:
        """Whether an epoch was seen that had no warm-up."""
        return len(self._asked) > 2


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A network's training, and who paces it where it was laid out for a time budget."""

    work: TrainingJob
    pacer: Pacer | None = None


def open_budget(
    context: Context,
    job: Job,
    waiting: Callable[[], Sequence[Place]],
    pool: WorkerPool,
    training_job: Callable[[Place], TrainingJob],
) -> TimeBudget | None:
    """Measure what is to be laid out; None where there is no time budget.

    Args:
        context: of the run.
        job: the planned task.
        waiting: the networks that are not trained yet, in order.
        pool: the workers that will serve the trainings.
        training_job: makes a network's training, not laid out yet.
    """
    if job.options.time_budget_seconds is None:
        return None
    clock = open_clock(context, job.options)
    context.journal.say("probe", "measuring a few steps of every configuration for the time budget")
    works = {name: training_job((name, 0)) for name in job.configurations}
    costs = measure(context, job, pool, clock.budget_seconds, works)
    context.journal.note("measured", "steps, starts and predictions were measured", encode(costs))
    return TimeBudget(context, job, clock, costs, waiting)


class TimeBudget:
    """Lays out one network after the other.

    Args:
        context: of the run.
        job: the planned task.
        clock: of the task.
        costs: as measured; kept up to date.
        waiting: returns the networks that are not trained yet, in order.
    """

    def __init__(
        self, context: Context, job: Job, clock: BudgetClock, costs: Costs, waiting: Callable[[], Sequence[Place]]
    ) -> None:
        self._context, self._job, self._clock, self._costs, self._waiting = context, job, clock, costs, waiting
        self._begun = False
        self._first_case = dict(costs.case)
        self._current: tuple[Place, LaidOut, float] | None = None
        self._validating: float | None = None

    def lay_out(self, work: TrainingJob) -> LaidOut:
        """Lay out a network that is trained now.

        Raises:
            ResourceError: nothing is trained or begun yet, and the time that is left does not even suffice for
                `LEAST_STEPS` steps of every network.
        """
        own = (work.configuration.name, work.fold)
        waiting = [own, *(place for place in self._waiting() if place != own)]
        costs = [self._cost(place) for place in waiting]
        reserved = self._reserved()
        reserved[MARGIN] = margin_seconds(self._clock.budget_seconds, sum(reserved.values()))
        seconds = self._clock.left_seconds - sum(reserved.values())
        steps = steps_that_fit(costs, seconds, self._job.recipe)
        if steps < LEAST_STEPS:
            missing = ends_after_seconds(costs, LEAST_STEPS, (0.0,)) - seconds
            self._complain(missing, len(waiting))
            steps = LEAST_STEPS
        epochs, iterations = divide_into_epochs(steps, self._job.recipe)
        self._tell(len(waiting), (steps, epochs, iterations), reserved)
        laid_out = self._laid_out(work, costs[0], NetworkLayout(epochs=epochs, iterations=iterations), steps)
        self._current = ((work.configuration.name, work.fold), laid_out, self._clock.now())
        return laid_out

    def trained(self, place: Place) -> None:
        """Take note of what the steps of a network laid out here really took; its validation begins now."""
        if self._current is None or self._current[0] != place:
            return
        (name, _), laid_out, began = self._current
        self._validating = self._clock.now()
        pacer, iterations = laid_out.pacer, laid_out.work.iterations
        if pacer is not None and pacer.measured and iterations:
            stepping = max(0.0, self._validating - began - self._costs.start[name])
            self._costs.step[name] = stepping / (pacer.epochs * iterations) or self._costs.step[name]

    def ended(self, place: Place) -> None:
        """Take note of what the out-of-fold predictions of a network laid out here really took."""
        if self._current is None or self._current[0] != place or self._validating is None:
            return
        (name, fold), costs = place, self._costs
        cases = max(1, len(self._job.folds.validation[fold]))
        seconds = (self._clock.now() - self._validating - costs.opening.get(name, 0.0)) / cases
        self._current = self._validating = None
        first = self._first_case[name]
        # A machine that was quick for a moment may be slow again when the test cases are predicted.
        costs.case[name] = max(first, seconds)
        costs.slowdown = costs.case[name] / first if first > 0 else 1.0

    def over(self) -> None:
        """Warn where too little time is left for what follows, now that nothing is trained any more."""
        left, needed = self._clock.left_seconds, sum(self._reserved().values())
        if left < needed:
            self._context.journal.warn(
                "late",
                f"training is over, and {duration(max(0.0, left))} of the time budget are left for what takes about "
                f"{duration(needed)}; nothing of it is left out, so that the run will end about "
                f"{duration(needed - left)} after its budget",
            )

    def _reserved(self) -> dict[str, float]:
        return reserved_seconds(self._context, self._job, self._costs)

    def _cost(self, place: Place) -> NetworkCost:
        name, fold = place
        cases = len(self._job.folds.validation[fold])
        return NetworkCost(
            step_seconds=self._costs.step[name],
            other_seconds=self._costs.start[name] + self._costs.opening.get(name, 0.0) + cases * self._costs.case[name],
            left=1.0 - (trained_share(self._context.workspace.fold(*place)) or 0.0),
        )

    def _laid_out(self, work: TrainingJob, cost: NetworkCost, layout: NetworkLayout, steps: int) -> LaidOut:
        path = self._context.workspace.network_layout(work.configuration.name, work.fold)
        if trained_share(work.folder) is not None:
            if (continued := continued_layout(path, layout)) is None:
                self._context.journal.warn("damaged", f"{path} cannot be read; this network is trained from the start")
                discard_checkpoint(work.folder)
            layout = continued or layout
        write_record(path, layout)
        name, now = work.configuration.name, self._clock.now
        until = now() + self._costs.start[name] + cost.left * steps * cost.step_seconds
        pacer = Pacer(now, until, layout.iterations * cost.step_seconds)
        return LaidOut(replace(work, iterations=layout.iterations, laid_out_epochs=layout.epochs), pacer)

    def _complain(self, missing_seconds: float, networks: int) -> None:
        """Refuse a budget that is too small before anything is trained or begun; later there is only a warning.

        What is trained is not to be held back for a start that is late: it becomes a model all the same.
        """
        clock = self._clock
        needed = clock.budget_seconds + missing_seconds
        words = duration_words(60 * math.ceil(1.02 * needed / 60))
        if not self._begun and not self._has_work():
            raise ResourceError(
                f"the time budget of {duration_words(clock.budget_seconds)} does not suffice: "
                f"{duration(clock.used_seconds)} are used, and {networks} networks of {LEAST_STEPS} steps, "
                "which is the least, with all that follows "
                f"take {duration(missing_seconds)} more than is left. What to do: repeat the command with at least "
                f"--time-budget {words} or ask for fewer with --folds or "
                "--configurations."
            )
        self._context.journal.warn(
            "late",
            f"time is short: what is left is trained for the least, {LEAST_STEPS} steps of a network, and the run will "
            f"end about {duration(missing_seconds)} after its budget. What to do for more: stop the run and repeat the "
            f"command with more than --time-budget {words}",
        )

    def _has_work(self) -> bool:
        """Whether any network is trained or begun, by this start or an earlier one."""
        workspace, folds = self._context.workspace, range(len(self._job.folds.validation))
        places = [(name, fold) for name in self._job.configurations for fold in folds]
        trained = any(workspace.fold_result(*place).exists() for place in places)
        return trained or any(trained_share(workspace.fold(*place)) is not None for place in places)

    def _tell(self, networks: int, layout: tuple[int, int, int], reserved: dict[str, float]) -> None:
        """Write the layout down; say it once, at the first network."""
        clock, costs, journal = self._clock, self._costs, self._context.journal
        steps, epochs, iterations = layout
        record = BudgetLayout(
            budget_seconds=clock.budget_seconds,
            used_seconds=round(clock.used_seconds, 1),
            end=clock.end_of_day(),
            networks=networks,
            steps=steps,
            epochs=epochs,
            iterations=iterations,
            step_seconds=dict(costs.step),
            start_seconds=dict(costs.start),
            case_seconds=dict(costs.case),
            reserved_seconds={name: round(seconds, 2) for name, seconds in reserved.items()},
        )
        write_record(self._context.workspace.time_budget, record)
        share = 100 * steps / (self._job.recipe.maximum_epochs * self._job.recipe.iterations_per_epoch)
        measured = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in costs.step.items())
        sentence = (
            f"time budget {duration_words(clock.budget_seconds)}, {duration(clock.used_seconds)} used: {networks} "
            f"networks of {epochs} epochs x {iterations} steps ({share:.2g} % of the recipe's), the rate falling to "
            "its end; "
            f"{duration(sum(reserved.values()))} are kept for what follows (measured per step: {measured})"
        )
        (journal.note if self._begun else journal.say)("layout", sentence, encode(record))
        self._begun = True
