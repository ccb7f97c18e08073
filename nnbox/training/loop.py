"""Training one configuration on one fold, from the first batch to the final weights. Source: 2018 §2.3, 2019 §2.2."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from functools import partial

import torch

from nnbox.errors import LostClaimError, ResourceError
from nnbox.faults import reached
from nnbox.interruption import whole
from nnbox.records.precision import Precision
from nnbox.records.results import FoldResult
from nnbox.rules.schedule import last_epoch, next_state, rate_of_step
from nnbox.training.arithmetic import arithmetic
from nnbox.training.checkpoint import write_tensors
from nnbox.training.draw import sampling_plan
from nnbox.training.feed import DeviceBatch, open_feed
from nnbox.training.job import TrainingJob, require_trainable
from nnbox.training.learner import Learner
from nnbox.training.loader import WorkerPool
from nnbox.training.progress import EpochRecord, Report, Setback, StepTimer, told
from nnbox.training.standing import Standing, last_checkpoint, may_always, save, take_up
from nnbox.training.steadiness import BreakdownError, require_steady, settle

_LONGEST_UNSAVED_SECONDS = 300.0
WEIGHTS_NAME = "weights.safetensors"


def train_fold(
    job: TrainingJob,
    *,
    report: Callable[[Report], None],
    pool: WorkerPool | None = None,
    pace: Callable[[], int] | None = None,
    may_write: Callable[[], None] = may_always,
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
        learner, standing = _trained(partial(_attempt, job, report, used, (pace, may_write)))
    with arithmetic(job):
        may_write()
        digest = write_tensors(job.folder / WEIGHTS_NAME, learner.weights())
    return FoldResult(
        configuration=job.configuration.name,
        fold=job.fold,
        epochs=standing.schedule.epoch,
        iterations_per_epoch=job.schedule.iterations_per_epoch,
        stopped_by=standing.schedule.finished or "",
        training_cases=job.training_cases,
        validation_cases=job.validation_cases,
        loss_first=standing.history[0].training_loss,
        loss_last=standing.history[-1].training_loss,
        weights_sha256=digest,
    )


def _trained(
    attempt: Callable[[BreakdownError | None], tuple[Learner, Standing] | BreakdownError],
) -> tuple[Learner, Standing]:
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
) -> tuple[Learner, Standing] | BreakdownError:
    """Train from the last checkpoint on, in float32 after a breakdown; return a breakdown that float32 may mend.

    It is returned, not raised: a traceback would keep the learner and all its memory.
    """
    bounds[1]()
    saved = last_checkpoint(job, report)
    full_precision = broken is not None or (saved is not None and saved[0].full_precision)
    with arithmetic(job.in_float32() if full_precision else job):
        learner, standing = take_up(job, saved, full_precision=full_precision)
        standing.pace, standing.may_write = bounds
        if standing.schedule.finished is not None:
            return learner, standing
        if broken is not None:
            where = f"after epoch {standing.schedule.epoch}" if standing.schedule.epoch else "at the start"
            sentence = f"{broken} Now once more in float32 from the last saved state, {where}."
            report(Setback(configuration=job.configuration.name, fold=job.fold, sentence=sentence))
            save(job, learner, standing, now=True)  # who continues knows of it
        report(learner.engine)
        try:
            _run(job, learner, standing, report, pool)
        except BreakdownError as error:
            if learner.engine.precision is Precision.FLOAT32:
                raise
            return error.with_traceback(None)
    return learner, standing


def _run(
    job: TrainingJob, learner: Learner, standing: Standing, report: Callable[[Report], None], pool: WorkerPool
) -> None:
    """Train epoch after epoch until the schedule says that it is over; when interrupted, save where it stands."""
    plan, recipe = sampling_plan(job), job.schedule
    standing.lay_out_again(recipe)
    first = standing.schedule.epoch * plan.steps_per_epoch + len(standing.losses)
    last = recipe.maximum_epochs * plan.steps_per_epoch
    epochs_left = last_epoch(standing.schedule, recipe) - standing.schedule.epoch
    steps_left = epochs_left * recipe.iterations_per_epoch - len(standing.losses)
    with closing(open_feed(job, learner.engine, pool, plan, (first, last))) as batches:
        timer = StepTimer(
            (job.configuration.name, job.fold),
            (recipe.iterations_per_epoch, steps_left),
            learner.synchronize,
            report,
        )
        try:
            while standing.schedule.finished is None:
                record = _epoch(job, learner, standing, batches, timer)
                save(job, learner, standing)
                report(record)
                standing.lay_out_again(recipe)
        except (KeyboardInterrupt, SystemExit, ResourceError):
            try:
                with whole(), suppress(LostClaimError):  # what ends it is to be told all the same
                    save(job, learner, standing, now=True)
            finally:
                pool.give_up()
            raise


def _epoch(
    job: TrainingJob, learner: Learner, standing: Standing, batches: Iterator[DeviceBatch], timer: StepTimer
) -> EpochRecord:
    """Take what is left of an epoch's steps, validate, and let the schedule judge."""
    recipe, number = job.schedule, len(standing.history) + 1
    started = time.perf_counter()
    while len(standing.losses) < recipe.iterations_per_epoch:
        loss = learner.judge(learner.gradients(next(batches)))
        with whole():
            learner.step(rate_of_step(standing.schedule, recipe, len(standing.losses)))
            standing.losses.append(loss)
        timer.count_step()
        reached("training step", job.unit)
        require_steady(standing.losses[standing.judged_from :], job, number)
        if time.monotonic() - standing.saved_at > _LONGEST_UNSAVED_SECONDS:
            save(job, learner, standing)
    training_loss, left_out = settle(standing.losses, job, number, standing.judged_from)
    timer.tell()
    validation_loss, dice = _validate(job, learner, batches, number)
    schedule = next_state(standing.schedule, recipe, training_loss, validation_loss)
    record = EpochRecord(
        configuration=job.configuration.name,
        fold=job.fold,
        epoch=schedule.epoch,
        maximum_epochs=last_epoch(schedule, recipe),
        rate=rate_of_step(standing.schedule, recipe, recipe.iterations_per_epoch - 1),
        training_loss=training_loss,
        validation_loss=validation_loss,
        training_average=told(schedule.training_average),
        validation_average=told(schedule.validation_average),
        dice=dice,
        seconds=round(time.perf_counter() - started, 3),
        left_out=left_out,
    )
    with whole():
        standing.schedule = schedule
        standing.history.append(record)
        standing.losses.clear()
        standing.judged_from = 0
    return record


def _validate(
    job: TrainingJob, learner: Learner, batches: Iterator[DeviceBatch], epoch: int
) -> tuple[float, tuple[float | None, ...]]:
    """Return the mean loss on unaugmented patches and the Dice of each label over all of them together."""
    outcomes = [learner.validate(next(batches)) for _ in range(job.schedule.validation_iterations)]
    loss, _ = settle([outcome[0] for outcome in outcomes], job, epoch)
    counts = torch.stack([outcome[1] for outcome in outcomes]).sum(dim=0).tolist()
    return loss, tuple(2 * both / (own + found) if own + found else None for own, found, both in counts)
