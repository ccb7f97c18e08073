"""Training one configuration on one fold, from the first batch to the final weights. Source: 2018 §2.3, 2019 §2.2."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from nnbox.errors import LostClaimError, ResourceError
from nnbox.faults import reached
from nnbox.interruption import whole
from nnbox.recipes import Recipe
from nnbox.records.precision import Precision
from nnbox.records.results import FoldResult
from nnbox.rules.schedule import ScheduleState, continue_for, last_epoch, next_state, rate_of_step
from nnbox.training.arithmetic import arithmetic
from nnbox.training.checkpoint import read_checkpoint, write_checkpoint, write_tensors
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.feed import DeviceBatch, open_feed
from nnbox.training.job import TrainingJob, require_trainable
from nnbox.training.learner import Learner
from nnbox.training.loader import WorkerPool
from nnbox.training.progress import EpochRecord, Report, Setback, StepTimer, told, write_progress
from nnbox.training.steadiness import BreakdownError, on_host, require_steady, settle, taken_up

CHECKPOINT_SHARE = 0.05
_LONGEST_UNSAVED_SECONDS = 300.0
WEIGHTS_NAME = "weights.safetensors"
PROGRESS_NAME = "progress.csv"


def _may_always() -> None:
    """Allow whatever is asked."""


def train_fold(
    job: TrainingJob,
    *,
    report: Callable[[Report], None],
    pool: WorkerPool | None = None,
    pace: Callable[[], int] | None = None,
    may_write: Callable[[], None] = _may_always,
) -> FoldResult:
    """Train a unit, or continue it from its checkpoint, and write its final weights.

    Writes ``progress.csv``, ``checkpoint.json`` with its tensors, and at the end ``weights.safetensors`` into the job's
    folder. Interrupted at any moment and called again it ends with the same weights, whatever the number of workers
    (on a GPU: with ``deterministic``). The final weights count; nothing is chosen on validation data.

    Args:
        job: what to train.
        report: is told once of the engine, of every epoch, and once of the measured time per step. What it raises ends
            the training.
        pool: worker processes that outlive this unit; None starts ``job.workers`` of them for this unit.
        pace: of a schedule laid out for a time budget: asked before every epoch how many there is time for.
        may_write: is called before anything is written; raises where another run has taken the unit over.

    Raises:
        LostClaimError: another run has taken the unit over; its folder is as that run wants it.
        PlanError: the plan must not be trained.
        DataError: a prepared case is missing or damaged, or a previous-stage prediction must not be used.
        ChangedRunError: the folder holds the checkpoint of another job.
        TrainingError: the loss is not finite for long, in float32; or a sample could not be made.
        ResourceError: a worker was killed, the device's memory does not suffice, or the disk is full.
    """
    require_trainable(job)
    with WorkerPool(job.workers) if pool is None else nullcontext(pool) as used:
        learner, progress = _trained(partial(_attempt, job, report, used, (pace, may_write)))
    with arithmetic(job):
        may_write()
        digest = write_tensors(job.folder / WEIGHTS_NAME, learner.weights())
    return FoldResult(
        configuration=job.configuration.name,
        fold=job.fold,
        epochs=progress.schedule.epoch,
        iterations_per_epoch=job.schedule.iterations_per_epoch,
        stopped_by=progress.schedule.finished or "",
        training_cases=job.training_cases,
        validation_cases=job.validation_cases,
        loss_first=progress.history[0].training_loss,
        loss_last=progress.history[-1].training_loss,
        weights_sha256=digest,
    )


@dataclass(slots=True)
class _Progress:
    """Where the training stands; ``saved_at`` and ``saving_seconds`` are of the last checkpoint.

    ``losses`` are those of the steps taken in the epoch that is not finished yet; those before ``judged_from`` were in
    the checkpoint, and may be why an earlier start broke down. With ``full_precision`` the training
    broke down before and goes on in float32.
    """

    schedule: ScheduleState
    history: list[EpochRecord] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    judged_from: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    saving_seconds: float = 0.0
    full_precision: bool = False
    pace: Callable[[], int] | None = None
    may_write: Callable[[], None] = _may_always

    def lay_out_again(self, recipe: Recipe) -> None:
        """Give a laid-out schedule as many epochs as there is time for; an epoch that was begun is ended first."""
        if self.pace is not None and not self.losses and self.schedule.finished is None:
            self.schedule = continue_for(self.schedule, recipe, self.pace())


def _trained(
    attempt: Callable[[BreakdownError | None], tuple[Learner, _Progress] | BreakdownError],
) -> tuple[Learner, _Progress]:
    """Train to the end; should it break down, once more from the last checkpoint on, in float32. Source: own."""
    found = attempt(None)
    if isinstance(found, BreakdownError):
        gc.collect()  # nothing refers to the first learner any more: the second one finds its memory
        torch.cuda.empty_cache()
        found = attempt(found)
    if isinstance(found, BreakdownError):
        raise found
    return found


def _attempt(
    job: TrainingJob,
    report: Callable[[Report], None],
    pool: WorkerPool,
    bounds: tuple[Callable[[], int] | None, Callable[[], None]],
    broken: BreakdownError | None,
) -> tuple[Learner, _Progress] | BreakdownError:
    """Train from the last checkpoint on, in float32 after a breakdown; return a breakdown that float32 may mend.

    It is returned, not raised: a traceback would keep the learner and all its memory.
    """
    bounds[1]()
    with arithmetic(job if broken is None else job.in_float32()):
        learner, progress = _resume(job, report, full_precision=broken is not None)
        progress.pace, progress.may_write = bounds
        if progress.schedule.finished is not None:
            return learner, progress
        if broken is not None:
            where = f"after epoch {progress.schedule.epoch}" if progress.schedule.epoch else "at the start"
            sentence = f"{broken} Now once more in float32 from the last saved state, {where}."
            report(Setback(configuration=job.configuration.name, fold=job.fold, sentence=sentence))
            _save(job, learner, progress, now=True)  # who continues knows of it
        report(learner.engine)
        try:
            _run(job, learner, progress, report, pool)
        except BreakdownError as error:
            if learner.engine.precision is Precision.FLOAT32:
                raise
            return error.with_traceback(None)
    return learner, progress


def _run(
    job: TrainingJob, learner: Learner, progress: _Progress, report: Callable[[Report], None], pool: WorkerPool
) -> None:
    """Train epoch after epoch until the schedule says that it is over; when interrupted, save where it stands."""
    plan, recipe = sampling_plan(job), job.schedule
    progress.lay_out_again(recipe)
    first = progress.schedule.epoch * plan.steps_per_epoch + len(progress.losses)
    last = recipe.maximum_epochs * plan.steps_per_epoch
    epochs_left = last_epoch(progress.schedule, recipe) - progress.schedule.epoch
    steps_left = epochs_left * recipe.iterations_per_epoch - len(progress.losses)
    with closing(open_feed(job, learner.engine, pool, plan, (first, last))) as batches:
        timer = StepTimer(
            (job.configuration.name, job.fold),
            (recipe.iterations_per_epoch, steps_left),
            learner.synchronize,
            report,
        )
        try:
            while progress.schedule.finished is None:
                record = _epoch(job, learner, progress, batches, timer)
                _save(job, learner, progress)
                report(record)
                progress.lay_out_again(recipe)
        except (KeyboardInterrupt, SystemExit, ResourceError):
            try:
                with whole(), suppress(LostClaimError):  # what ends it is to be told all the same
                    _save(job, learner, progress, now=True)
            finally:
                pool.give_up()
            raise


def _epoch(
    job: TrainingJob, learner: Learner, progress: _Progress, batches: Iterator[DeviceBatch], timer: StepTimer
) -> EpochRecord:
    """Take what is left of an epoch's steps, validate, and let the schedule judge."""
    recipe, number = job.schedule, len(progress.history) + 1
    started = time.perf_counter()
    while len(progress.losses) < recipe.iterations_per_epoch:
        loss = learner.judge(learner.gradients(next(batches)))
        with whole():
            learner.step(rate_of_step(progress.schedule, recipe, len(progress.losses)))
            progress.losses.append(loss)
        timer.count_step()
        reached("training step", job.unit)
        require_steady(progress.losses[progress.judged_from :], job, number)
        if time.monotonic() - progress.saved_at > _LONGEST_UNSAVED_SECONDS:
            _save(job, learner, progress)
    training_loss, left_out = settle(progress.losses, job, number, progress.judged_from)
    timer.tell()
    validation_loss, dice = _validate(job, learner, batches, number)
    schedule = next_state(progress.schedule, recipe, training_loss, validation_loss)
    record = EpochRecord(
        configuration=job.configuration.name,
        fold=job.fold,
        epoch=schedule.epoch,
        maximum_epochs=last_epoch(schedule, recipe),
        rate=rate_of_step(progress.schedule, recipe, recipe.iterations_per_epoch - 1),
        training_loss=training_loss,
        validation_loss=validation_loss,
        training_average=told(schedule.training_average),
        validation_average=told(schedule.validation_average),
        dice=dice,
        seconds=round(time.perf_counter() - started, 3),
        left_out=left_out,
    )
    with whole():
        progress.schedule = schedule
        progress.history.append(record)
        progress.losses.clear()
        progress.judged_from = 0
    return record


def _validate(
    job: TrainingJob, learner: Learner, batches: Iterator[DeviceBatch], epoch: int
) -> tuple[float, tuple[float | None, ...]]:
    """Return the mean loss on unaugmented patches and the Dice of each label over all of them together."""
    outcomes = [learner.validate(next(batches)) for _ in range(job.schedule.validation_iterations)]
    loss, _ = settle([outcome[0] for outcome in outcomes], job, epoch)
    counts = torch.stack([outcome[1] for outcome in outcomes]).sum(dim=0).tolist()
    return loss, tuple(2 * both / (own + found) if own + found else None for own, found, both in counts)


def _resume(
    job: TrainingJob, report: Callable[[Report], None], *, full_precision: bool = False
) -> tuple[Learner, _Progress]:
    """Take up the job's checkpoint where there is one; bring the progress table to the same epoch."""

    def tell(sentence: str) -> None:
        report(Setback(configuration=job.configuration.name, fold=job.fold, sentence=sentence))

    found = read_checkpoint(job.folder, job.digest(), tell)
    if found is None:
        state = _Progress(schedule=job.first_state(), full_precision=full_precision)
        return Learner(job, settle_engine(job.in_float32() if full_precision else job)), state
    record, tensors = found
    full_precision |= record.full_precision
    learner = Learner(job, settle_engine(job.in_float32() if full_precision else job))
    learner.load(tensors, record.loss_scaling)
    write_progress(job.folder / PROGRESS_NAME, record.history)
    losses = taken_up(record.losses, job, learner.device)
    return learner, _Progress(
        schedule=record.schedule,
        history=list(record.history),
        losses=losses,
        judged_from=len(losses),
        full_precision=full_precision,
    )


def _save(job: TrainingJob, learner: Learner, progress: _Progress, *, now: bool = False) -> None:
    """Write the progress table, and a checkpoint unless the last one is so recent that writing would cost over 5 %.

    With ``now`` the checkpoint is written in any case.

    Raises:
        LostClaimError: the folder is another run's by now; nothing is written.
    """
    progress.may_write()
    write_progress(job.folder / PROGRESS_NAME, tuple(progress.history))
    started = time.monotonic()
    recent = started - progress.saved_at < progress.saving_seconds / CHECKPOINT_SHARE
    if recent and progress.schedule.finished is None and not now:
        return
    write_checkpoint(
        job.folder,
        learner.state(),
        job_sha256=job.digest(),
        schedule=progress.schedule,
        history=tuple(progress.history),
        losses=on_host(progress.losses),
        loss_scaling=learner.loss_scaling,
        full_precision=progress.full_precision,
    )
    progress.saved_at = time.monotonic()
    progress.saving_seconds = progress.saved_at - started
