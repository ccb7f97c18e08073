"""``train``: the whole line, read from top to bottom."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from nnbox.errors import IncompleteOutputError, PlanError
from nnbox.layouts.detect import find_tasks
from nnbox.network.device import Device, choose_devices, no_device
from nnbox.recipes import Recipe
from nnbox.records.codec import write_record
from nnbox.rules.time_budget import decide_layout
from nnbox.stages.changed import require_unchanged
from nnbox.stages.claims import Holder
from nnbox.stages.clock import Stage, ending_recorded, stage
from nnbox.stages.completion import background_only
from nnbox.stages.context import Context, open_context
from nnbox.stages.intake import Found, keep, take_in_dataset
from nnbox.stages.job import Job
from nnbox.stages.journal import Journal, Listener
from nnbox.stages.last_report import expect_last_report, write_last_report
from nnbox.stages.leftovers import swept
from nnbox.stages.options import TrainOptions, Until
from nnbox.stages.outcome import TaskOutcome, attempted, require_none_failed
from nnbox.stages.packaging import TaskPredictions, expected_cases, package_model, submit, warn_left_out
from nnbox.stages.places import require_places, require_scratch
from nnbox.stages.planning import plan_found, require_memory
from nnbox.stages.preprocess import preprocess
from nnbox.stages.presence import present
from nnbox.stages.provenance import tell_start
from nnbox.stages.resources import (
    disk_need,
    require_card,
    require_disk,
    require_precision,
    worker_count,
)
from nnbox.stages.schedule import (
    Schedule,
    complete_folds,
    schedule_facts,
    schedule_units,
    work_digest,
)
from nnbox.stages.sharing import Membership, Seat, join, leaving, preparing, seated
from nnbox.stages.standing import FINISHED, PART_FINISHED
from nnbox.stages.wanted import chosen_configurations, chosen_folds, folds_of, recipe_of
from nnbox.stages.workspace import Workspace

_MEMBERS, _SUBMITTERS = "members", "submitters"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all tasks of a run share.

    Attributes:
        options: what the user asked for.
        recipe: with ``--epochs`` in it.
        devices: where networks are trained; all else runs on the first.
        seat: among the runs that share the output.
    """

    options: TrainOptions
    recipe: Recipe
    devices: tuple[Device, ...]
    seat: Seat

    @property
    def device(self) -> Device:
        """The first device."""
        return self.devices[0]


def train(options: TrainOptions, listener: Listener, *, steps_told: bool = True) -> tuple[TaskOutcome, ...]:
    """Train every task below the input, one after the other, and write one archive of all predictions.

    One of several tasks that fails does not keep the others from being done.

    Args:
        options: what the user asked for.
        listener: is told what happens.
        steps_told: tell it of epochs, too; False where a live view shows them.

    Raises:
        NnboxError: with the exit code of what went wrong, of several tasks the highest; see `nnbox.errors`.
    """
    options = replace(options, asked_at=time.monotonic() if options.asked_at is None else options.asked_at)
    recipe = recipe_of(options)
    output = options.output or options.input / "nnbox"
    roots = find_tasks(options.input)
    require_memory(options.planning_memory_gb)
    require_places(output, options.input)
    require_scratch(output)
    # Before a restart moves anything.
    devices = choose_devices(options.device) if options.needs_networks else (no_device(options.device),)
    for device in devices if options.needs_networks else ():
        require_precision(device, options.engine.precision)
    with (
        seated(output, listener, restart=options.restart) as seat,
        swept(output),
        present(output, listener, seat=seat.number, run=seat.run) as listener,  # noqa: PLR1704 - the run speaks through it
    ):
        for device in devices:
            listener(None, f"device: {device.name} ({device.description})")
        run = _Run(options=options, recipe=recipe, devices=devices, seat=seat)
        submitting = join(seat.claims, _SUBMITTERS, seat, options.until)
        contexts: list[Context] = []
        outcomes: list[TaskOutcome] = []
        with contextlib.ExitStack() as at_the_end:
            for root in roots:
                workspace = Workspace(output / root.name if len(roots) > 1 else output)
                workspace.root.mkdir(parents=True, exist_ok=True)
                journal = Journal(workspace.log, listener, steps_told, seat.run, options.asked_at)
                context = open_context(root, workspace, journal, worker_count(options.workers))
                at_the_end.callback(context.claims.close)
                contexts.append(context)
                outcomes.append(attempted(context, partial(train_task, context, run), alone=len(roots) == 1))
            with leaving(seat.claims, _SUBMITTERS, submitting) as others:
                return _end(contexts, outcomes, run, others)


def _end(
    contexts: Sequence[Context], outcomes: Sequence[TaskOutcome], run: _Run, others: Sequence[Holder]
) -> tuple[TaskOutcome, ...]:
    """Write the archive of all tasks, or leave it to runs that still train; then say how the run ended."""
    ended, alone = list(outcomes), len(contexts) == 1
    for number, (context, outcome) in enumerate(zip(contexts, outcomes, strict=True)):
        if outcome.left is None or others:
            continue
        # Who was to do it is gone.
        ended[number] = attempted(context, partial(_choose_and_predict, context, outcome.left), alone=alone)
    first = contexts[0].journal
    output = Workspace(contexts[0].workspace.root.parent if len(contexts) > 1 else contexts[0].workspace.root)
    left = [outcome for outcome in ended if outcome.left is not None]
    failed = [outcome for outcome in ended if outcome.failed is not None]
    if not left and not failed:
        journal = Journal(output.log, first.listener, run=first.run, began=first.began)
        with ending_recorded(journal):
            _submit(output, ended, journal)
    for context, outcome in zip(contexts, ended, strict=True):
        if outcome.failed is not None:
            continue  # that is recorded, and in its report
        if left:
            sentence = (
                f"this run's part is done; what is still to be trained is with {others[0].sentence()}: the run that "
                "ends last chooses, packages and predicts"
            )
            context.journal.say(PART_FINISHED, sentence)
        else:
            context.journal.note(FINISHED, "the run is finished", {"until": run.options.until})
        write_last_report(context)
    require_none_failed(ended)
    return tuple(ended)


def train_task(context: Context, run: _Run) -> TaskOutcome:
    """Do the whole line for one task, as far as ``--until`` says."""
    options, device = run.options, run.device
    tell_start(context, options, device)
    with preparing(context):
        found = _take_in(context, run)
        if options.until is Until.INTAKE:
            return TaskOutcome(workspace=context.workspace)
        job, schedule, membership = _plan(context, run, found)
        plan = job.plan
        if options.until is Until.PLAN:
            return TaskOutcome(workspace=context.workspace, plan=plan)
        require_disk(context.workspace.root, disk_need(plan, job.fingerprint))
        for card in run.devices:
            require_card(card, plan)
        facts = schedule_facts(job, schedule)
        context.journal.note("units", f"{len(schedule.units)} networks are to be trained", facts)
        if options.until is Until.PREPROCESS:
            expect_last_report()
        with stage(context, Stage.PREPROCESS, device):
            preprocess(context, job.taken, plan, schedule.configurations)
    if options.until is Until.PREPROCESS:
        return TaskOutcome(workspace=context.workspace, plan=plan)

    from nnbox.stages.training import train_units  # noqa: PLC0415 - torch, which is slow to import and only needed now

    with stage(context, Stage.TRAIN, device):
        train_units(context, job, schedule)
    if options.until is Until.TRAIN:
        return TaskOutcome(workspace=context.workspace, plan=plan)
    with leaving(context.claims, _MEMBERS, membership) as others:
        if others:
            return TaskOutcome(workspace=context.workspace, plan=plan, left=job)
        return _choose_and_predict(context, job)


def _take_in(context: Context, run: _Run) -> Found:
    with stage(context, Stage.INTAKE, run.device):
        found = take_in_dataset(context, run.options.intake)
    if run.options.until is Until.INTAKE and not context.workspace.plan.exists():
        keep(context, found)  # What a plan was made from is replaced together with the plan.
    return found


def _plan(context: Context, run: _Run, found: Found) -> tuple[Job, Schedule, Membership]:
    """Plan, see that no run's work would be thrown away, and write what was found and planned."""
    options, workspace, journal = run.options, context.workspace, context.journal
    plan = plan_found(found, options.recipe, options.planning_memory_gb)
    if not plan.trainable:
        raise PlanError(f"this plan cannot be trained: {plan.why_not_trainable}")
    if options.time_budget_seconds is not None:
        plan = replace(plan, decisions=(*plan.decisions, decide_layout(run.recipe, options.time_budget_seconds)))
    folds = folds_of(found.taken)
    schedule = schedule_units(plan, folds, chosen_configurations(options, plan), chosen_folds(options, folds))
    job = Job(
        taken=found.taken,
        fingerprint=found.fingerprint,
        plan=plan,
        folds=folds,
        recipe=run.recipe,
        options=options,
        device=run.device,
        devices=run.devices,
        configurations=schedule.configurations,
    )
    require_unchanged(context, job)
    membership = join(context.claims, _MEMBERS, run.seat, options.until, work_digest(context, job))
    keep(context, found)
    write_record(workspace.plan, plan)
    write_record(workspace.folds, folds)
    sizes = "; ".join(f"{item.name} patch {item.patch_size} batch {item.batch_size}" for item in plan.configurations)
    journal.say("plan", f"plan: {sizes}; {folds.origin}")
    for note in schedule.notes:
        journal.say("schedule", note)
    return job, schedule, membership


def _choose_and_predict(context: Context, job: Job) -> TaskOutcome:
    from nnbox.stages.selection import select  # noqa: PLC0415 - as slow to import as torch is

    workspace, plan, options = context.workspace, job.plan, job.options
    with stage(context, Stage.SELECT, job.device):
        selection = select(context, job, complete_folds(context, job))
    cases = job.taken.dataset.test_cases
    if selection is None and cases and options.until is not Until.SELECT:
        raise IncompleteOutputError(
            f"no network with full-resolution output is trained, so none of the {len(cases)} test images is predicted. "
            "What to do: train another of --configurations, or stop with --until train."
        )
    if selection is None or options.until is Until.SELECT:
        return TaskOutcome(workspace=workspace, plan=plan, selection=selection)
    with stage(context, Stage.PACKAGE, job.device):
        bundle = package_model(context, plan, selection)
    if not cases:
        context.journal.say("no_test_images", "there are no test images; the model is complete")
        return TaskOutcome(workspace=workspace, plan=plan, selection=selection)
    from nnbox.stages.ensemble import Ensemble, PredictionSettings  # noqa: PLC0415 - torch
    from nnbox.stages.prediction import predict_all  # noqa: PLC0415

    warn_left_out(context, options.intake.exclude)
    settings = PredictionSettings(replace_nonfinite=options.intake.replace_nonfinite)
    with stage(context, Stage.PREDICT, job.device):
        files = predict_all(context, job.taken, cases, Ensemble(bundle, job.device, settings))
    predictions = TaskPredictions(
        task=plan.task,
        files=files,
        expected=expected_cases(context.root, plan.task, cases, plan),
        empty=background_only(workspace.log, cases, files),
    )
    return TaskOutcome(workspace=workspace, plan=plan, selection=selection, predictions=predictions)


def _submit(workspace: Workspace, outcomes: Sequence[TaskOutcome], journal: Journal) -> None:
    """Write one archive for all tasks; a task without a prediction for a test image never gets that far."""
    tasks = [outcome.predictions for outcome in outcomes if outcome.predictions is not None]
    if not tasks:
        return
    names = [item.task for item in tasks]
    if len(set(names)) != len(names):
        raise IncompleteOutputError(f"two tasks are called {names[0]}; give their folders different names")
    archive = workspace.submission(names[0] if len(outcomes) == 1 else "submission")
    submit(archive, tasks, journal)
