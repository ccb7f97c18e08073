"""Every configuration and fold trained once; a finished one is never overwritten."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nnbox.network.device import peak_card_bytes
from nnbox.records.codec import encode, write_record
from nnbox.records.engine import Engine
from nnbox.stages.agenda import Agenda, Turn
from nnbox.stages.claims import POLL_SECONDS
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.projection import Projection
from nnbox.stages.receipts import Unit
from nnbox.stages.schedule import Place, Schedule, begun, training_unit
from nnbox.stages.sessions import UNIT_BEGINS, UNIT_ENDS
from nnbox.stages.usage import memory_in_use_bytes
from nnbox.stages.validation import validate, validation_unit
from nnbox.training.checkpoint import discard_checkpoint
from nnbox.training.job import TrainingJob
from nnbox.training.loader import WorkerPool
from nnbox.training.loop import train_fold
from nnbox.training.progress import Report, StepTiming


def train_units(context: Context, job: Job, schedule: Schedule) -> None:
    """Train and validate every unit of the schedule that is not done yet and that no other run trains.

    Returns when nothing is left that this run could train; what others train may then not be done yet.

    Raises:
        TrainingError: a training broke down.
        ResourceError: see `Projection.require_sensible`; or other runs had all there was to train.
    """
    projection = Projection(
        plan=job.plan,
        units=schedule.units,
        epochs=job.recipe.maximum_epochs,
        iterations=job.options.iterations or job.recipe.iterations_per_epoch,
    )
    reporter = _Reporter(context, job, projection)
    agenda = Agenda(schedule, context.claims, lambda place: is_complete(context, job, place))
    with WorkerPool(context.workers) as pool:
        told: Place | None = None
        while True:
            if (turn := agenda.take()) is not None:
                done = False
                try:
                    _train_unit(context, job, turn, reporter, pool)
                    done = True
                finally:
                    agenda.end(turn, done=done)
            elif (place := agenda.awaited()) is None:
                break
            else:
                if place != told:
                    holder = agenda.refusal(place).sentence()
                    context.journal.say("waiting", f"waiting for {place[0]} fold {place[1]} ({holder})")
                told = place
                time.sleep(POLL_SECONDS)
    agenda.require_work()


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


def _train_unit(context: Context, job: Job, turn: Turn, reporter: _Reporter, pool: WorkerPool) -> None:
    """Train and validate one claimed network."""
    name, fold = turn.place
    facts = {"configuration": name, "fold": fold}
    context.journal.note(UNIT_BEGINS, f"{name} fold {fold} begins", facts)
    unit = training_unit(context, job, turn.place)
    if context.receipts.is_done(unit):
        context.journal.say("skipped", f"{name} fold {fold} is trained already")
    else:

        def report(news: Report) -> None:
            turn.claim.require_held()
            reporter(news)

        _train(context, unit, _training_job(context, job, turn.place), report, pool)
    turn.claim.require_held()
    validate(context, job, job.plan.configuration(name), fold)
    context.journal.note(UNIT_ENDS, f"{name} fold {fold} is done", facts)


def _train(context: Context, unit: Unit, work: TrainingJob, report: Callable[[Report], None], pool: WorkerPool) -> None:
    if damaged := context.receipts.damaged(unit.name):
        context.journal.warn("damaged", f"{unit.name}: {', '.join(damaged)} is damaged or missing; trained again")
        context.receipts.path(unit.name).unlink()
    context.receipts.write(begun(unit), seconds=0.0)
    started = time.monotonic()
    result = train_fold(work, report=report, pool=pool)
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
    )


@dataclass(frozen=True, slots=True)
class _Reporter:
    """Tells a training's news: every epoch into the log, the projection when a configuration is first measured."""

    context: Context
    job: Job
    projection: Projection
    engines: list[Engine] = field(default_factory=list)

    def __call__(self, news: Report) -> None:
        journal = self.context.journal
        if isinstance(news, Engine):
            if news not in self.engines:
                self.engines.append(news)
                journal.say("engine", news.sentence, encode(news))
            return
        if isinstance(news, StepTiming):
            if self.projection.measure(news.configuration, news.seconds_per_step):
                journal.say("projection", self.projection.sentence(), {"hours": self.projection.total_hours()})
                wanted = self.job.options.cpu_is_wanted
                self.projection.require_sensible(cpu=not self.job.device.is_cuda, wanted=wanted)
            return
        dice = ", ".join("-" if value is None else f"{value:.3f}" for value in news.dice)
        journal.step(
            "epoch",
            f"{news.configuration} fold {news.fold}",
            f"{news.configuration} fold {news.fold} epoch {news.epoch} of {news.maximum_epochs}: loss "
            f"{news.training_loss:.4f}, validation {news.validation_loss:.4f}, Dice {dice}, rate {news.rate:.1e}, "
            f"{news.seconds:.1f} s",
            encode(news) | {"memory_bytes": memory_in_use_bytes(), "card_bytes": peak_card_bytes(self.job.device)},
            last=news.epoch == news.maximum_epochs,
        )
        self.context.refresher.refresh()
