"""Every configuration and fold trained once; a finished one is never overwritten."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from nnbox.network.device import Device, peak_card_bytes
from nnbox.records.codec import encode, write_record
from nnbox.records.engine import Engine
from nnbox.stages.agenda import Agenda, Turn
from nnbox.stages.claims import POLL_SECONDS
from nnbox.stages.context import Context
from nnbox.stages.crew import Crew
from nnbox.stages.findings import Findings
from nnbox.stages.job import Job
from nnbox.stages.overseer import Overseer, nobody
from nnbox.stages.projection import Projection
from nnbox.stages.receipts import Unit
from nnbox.stages.schedule import Place, Schedule, begun, training_unit
from nnbox.stages.sessions import UNIT_BEGINS, UNIT_ENDS
from nnbox.stages.time_budget import LaidOut, TimeBudget, open_budget
from nnbox.stages.usage import memory_in_use_bytes
from nnbox.stages.validation import validate, validation_unit
from nnbox.training.checkpoint import discard_checkpoint
from nnbox.training.job import TrainingJob
from nnbox.training.loader import WorkerPool
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, Report, Setback, StepTaken, StepTiming


def train_units(context: Context, job: Job, schedule: Schedule) -> None:
    """Train and validate every unit of the schedule that is not done yet and that no other run trains.

    Returns when nothing is left that this run could train; what others train may then not be done yet.

    Raises:
        TrainingError: a training broke down.
        ResourceError: see `Projection.require_sensible`; or other runs had all there was to train.
    """
    devices, at_once = _devices(context, job), job.options.parallel
    projection = Projection(
        plan=job.plan,
        units=schedule.units,
        epochs=job.recipe.maximum_epochs,
        iterations=job.options.iterations or job.recipe.iterations_per_epoch,
        at_once=min(len(schedule.units), len(devices) * (at_once or 1)),
    )
    findings = Findings(context.journal, job, projection)
    agenda = Agenda(schedule, context.claims, lambda place: is_complete(context, job, place))
    if _has_one_place(job, schedule):
        _train_here(context, job, schedule, agenda, findings)
    else:
        Crew(context, job, agenda, findings).work()
    agenda.require_work()


def _devices(context: Context, job: Job) -> tuple[Device, ...]:
    """Return where networks are trained: with a time budget on the first device; says which others stay idle."""
    devices = job.devices or (job.device,)
    if job.options.time_budget_seconds is None or len(devices) == 1:
        return devices
    idle = ", ".join(device.name for device in devices[1:])
    sentence = f"--time-budget trains one network after the other, on {devices[0].name}; idle: {idle}"
    context.journal.warn("idle_devices", sentence)
    return devices[:1]


def _has_one_place(job: Job, schedule: Schedule) -> bool:
    """Whether networks are trained one after the other, so that no process is needed for each."""
    if job.options.time_budget_seconds is not None:
        return True
    at_once = job.options.parallel or (None if job.device.is_cuda else 1)
    return len(schedule.units) == 1 or (len(job.devices) <= 1 and at_once == 1)


def _train_here(context: Context, job: Job, schedule: Schedule, agenda: Agenda, findings: Findings) -> None:
    """Train one network after the other in this process."""
    budget: TimeBudget | None = None
    with WorkerPool(context.workers, lambda sentence: context.journal.warn("worker_lost", sentence)) as pool:
        if _waiting(context, job, schedule):
            waiting = partial(_waiting, context, job, schedule)
            budget = open_budget(context, job, waiting, pool, partial(_training_job, context, job))
        while True:
            if (turn := agenda.take()) is not None:
                reporter = _Reporter(context, job, turn, findings)
                overseer = Overseer(report=reporter, may_write=turn.claim.require_held, see=nobody)
                done = False
                try:
                    train_unit(context, job, turn.place, overseer, pool, budget)
                    done = True
                finally:
                    agenda.end(turn, done=done)
            elif (place := agenda.awaited()) is None:
                break
            else:
                agenda.tell_wait(place, context.journal)
                time.sleep(POLL_SECONDS)
    if budget is not None:
        budget.over()


def is_complete(context: Context, job: Job, place: Place) -> bool:
    """Whether a network is trained from these inputs and its validation cases are predicted; says so."""
    if not context.receipts.is_done(training_unit(context, job, place)):
        return False
    configuration = job.plan.configuration(place[0])
    cases = job.folds.validation[place[1]]
    if not all(
        context.receipts.is_done(validation_unit(context, job, configuration, place[1], case)) for case in cases
    ):
        return False
    context.journal.say("skipped", f"{place[0]} fold {place[1]} is trained already")
    return True


def train_unit(
    context: Context,
    job: Job,
    place: Place,
    overseer: Overseer,
    pool: WorkerPool,
    budget: TimeBudget | None = None,
) -> None:
    """Train and validate one network, which is claimed; see `train_units` for errors."""
    name, fold = place
    facts = {"configuration": name, "fold": fold}
    context.journal.note(UNIT_BEGINS, f"{name} fold {fold} begins", facts)
    unit = training_unit(context, job, place)
    if context.receipts.is_done(unit):
        discard_checkpoint(context.workspace.fold(name, fold))  # a run killed just before it did so leaves it
        context.journal.say("skipped", f"{name} fold {fold} is trained already")
    else:
        laid_out = LaidOut(_training_job(context, job, place))
        if budget is not None:
            laid_out = budget.lay_out(laid_out.work)
        _train(context, unit, laid_out, overseer, pool)
        if budget is not None:
            budget.trained(place)
    validate(context, job, (job.plan.configuration(name), fold), overseer)
    if budget is not None:
        budget.ended(place)
    context.journal.note(UNIT_ENDS, f"{name} fold {fold} is done", facts)


def _waiting(context: Context, job: Job, schedule: Schedule) -> tuple[Place, ...]:
    """Return the networks that are not trained yet, in order."""
    return tuple(place for place in schedule.units if not context.receipts.is_done(training_unit(context, job, place)))


def _train(context: Context, unit: Unit, laid_out: LaidOut, overseer: Overseer, pool: WorkerPool) -> None:
    work = laid_out.work
    if damaged := context.receipts.damaged(unit.name):
        context.journal.warn("damaged", f"{unit.name}: {', '.join(damaged)} is damaged or missing; trained again")
        context.receipts.path(unit.name).unlink()
    context.receipts.write(begun(unit), seconds=0.0)
    started = time.monotonic()
    result = train_fold(work, report=overseer.report, pool=pool, pace=laid_out.pacer, may_write=overseer.may_write)
    overseer.may_write()
    name, fold = work.configuration.name, work.fold
    write_record(context.workspace.fold_result(name, fold), result)
    seconds = time.monotonic() - started
    context.receipts.write(unit, seconds=seconds)
    discard_checkpoint(work.folder)
    context.journal.say(
        "trained",
        f"{name} fold {fold}: trained {result.epochs} epochs in {seconds:.0f} s, loss {result.loss_first:.3f} -> "
        f"{result.loss_last:.3f} ({result.stopped_by})",
        {"configuration": name, "fold": fold, "seconds": round(seconds, 2)},
    )


def _training_job(context: Context, job: Job, place: tuple[str, int]) -> TrainingJob:
    name, fold = place
    configuration = job.plan.configuration(name)
    return TrainingJob(
        plan=job.plan,
        configuration=configuration,
        recipe=job.recipe,
        fold=fold,
        training_cases=job.folds.training(fold),
        validation_cases=job.folds.validation[fold],
        store=context.workspace.store(configuration.store),
        previous_store=None if configuration.previous is None else context.workspace.previous,
        folder=context.workspace.fold(name, fold),
        seed=job.options.seed,
        device=job.device.name,
        workers=context.workers,
        iterations=job.options.iterations,
        deterministic=job.options.deterministic or not job.device.is_cuda,
        engine=job.options.engine,
        at_once=job.at_once,
    )


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Tells a training's news: every epoch into the log, the time of a step to whoever projects from it."""

    context: Context
    job: Job
    turn: Turn
    findings: Findings

    def __call__(self, news: Report) -> None:
        if isinstance(news, Engine):
            self.findings.trained_with(news)
            return
        if isinstance(news, Setback):
            tell_setback(self.context, news)
            return
        if isinstance(news, StepTiming):
            if self.job.options.time_budget_seconds is None:  # else the layout says how long it takes
                self.findings.measured(self.turn.place, news.seconds_per_step)
            return
        if isinstance(news, StepTaken):
            return
        tell_epoch(self.context, self.job, news)
        self.context.refresher.refresh()


def tell_setback(context: Context, news: Setback) -> None:
    """Say what went wrong in a training, and what is done about it."""
    context.journal.warn("setback", news.sentence, {"configuration": news.configuration, "fold": news.fold})


def tell_epoch(context: Context, job: Job, news: EpochRecord) -> None:
    """Record a finished epoch."""
    if news.left_out:
        context.journal.warn(
            "left_out_steps",
            f"{news.configuration} fold {news.fold} epoch {news.epoch}: {news.left_out} steps were left out, since "
            "their loss or gradients were not finite numbers",
            {"configuration": news.configuration, "fold": news.fold, "steps": news.left_out},
        )
    dice = ", ".join("-" if value is None else f"{value:.3f}" for value in news.dice)
    context.journal.step(
        "epoch",
        f"{news.configuration} fold {news.fold}",
        f"{news.configuration} fold {news.fold} epoch {news.epoch} of {news.maximum_epochs}: loss "
        f"{news.training_loss:.4f}, validation {news.validation_loss:.4f}, Dice {dice}, rate {news.rate:.1e}, "
        f"{news.seconds:.1f} s",
        encode(news) | {"memory_bytes": memory_in_use_bytes(), "card_bytes": peak_card_bytes(job.device)},
        last=news.epoch == news.maximum_epochs,
    )
