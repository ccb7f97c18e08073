"""``train``: the whole line, read from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnbox.errors import IncompleteOutputError, PlanError, UsageError
from nnbox.layouts.detect import find_tasks
from nnbox.network.device import Device, choose_device, no_device
from nnbox.recipes import RECIPES, Recipe
from nnbox.records.codec import write_record
from nnbox.records.plan import Folds, Plan
from nnbox.records.results import Selection
from nnbox.rules.folds import make_folds
from nnbox.stages.clock import Stage, ending_recorded, stage
from nnbox.stages.context import Context, TakenIn, open_context
from nnbox.stages.intake import keep, take_in_dataset
from nnbox.stages.job import Job
from nnbox.stages.journal import Journal, Listener
from nnbox.stages.last_report import failure_reported, write_last_report
from nnbox.stages.lock import held
from nnbox.stages.options import TrainOptions, Until
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
    worker_count,
)
from nnbox.stages.restart import move_aside
from nnbox.stages.schedule import complete_folds, require_unchanged, schedule_facts, schedule_units
from nnbox.stages.standing import FINISHED
from nnbox.stages.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """What a run made of one task; later parts are None when the run stopped before them.

    Attributes:
        workspace: its output folder.
        plan: the plan.
        selection: what was chosen.
        predictions: the test cases' label maps.
    """

    workspace: Workspace
    plan: Plan | None = None
    selection: Selection | None = None
    predictions: TaskPredictions | None = None


def train(options: TrainOptions, listener: Listener, *, steps_told: bool = True) -> tuple[TaskOutcome, ...]:
    """Train every task below the input, one after the other, and write one archive of all predictions.

    Args:
        options: what the user asked for.
        listener: is told what happens.
        steps_told: tell it of epochs, too; False where a live view shows them.

    Raises:
        NnboxError: with the exit code of what went wrong; see `nnbox.errors`.
    """
    recipe = recipe_of(options)
    output = options.output or options.input / "nnbox"
    roots = find_tasks(options.input)
    require_memory(options.planning_memory_gb)
    require_places(output, options.input)
    require_scratch(output)
    with held(output / ".lock"), present(output, listener) as listener:  # noqa: PLR1704 - the run speaks through it
        device = (choose_device if options.needs_networks else no_device)(options.device)
        listener(None, f"device: {device.name} ({device.description})")
        if options.restart and (aside := move_aside(output)) is not None:
            listener(None, f"the earlier run was moved to {aside}")
        contexts, outcomes = [], []
        for root in roots:
            workspace = Workspace(output / root.name if len(roots) > 1 else output)
            workspace.root.mkdir(parents=True, exist_ok=True)
            journal = Journal(workspace.log, listener, steps_told)
            context = open_context(root, workspace, journal, worker_count(options.workers))
            contexts.append(context)
            with failure_reported(context), ending_recorded(journal):
                outcomes.append(train_task(context, options, recipe, device))
        with ending_recorded(Journal(Workspace(output).log)):
            _submit(Workspace(output), outcomes, listener)
        for context in contexts:
            context.journal.note(FINISHED, "the run is finished", {"until": options.until})
            write_last_report(context)
    return tuple(outcomes)


def train_task(context: Context, options: TrainOptions, recipe: Recipe, device: Device) -> TaskOutcome:
    """Do the whole line for one task, as far as ``--until`` says."""
    workspace, journal = context.workspace, context.journal
    tell_start(context, options, device)
    with stage(context, Stage.INTAKE, device):
        found = take_in_dataset(context, options.intake)
    if options.until is Until.INTAKE:
        if not workspace.plan.exists():  # What a plan was made from is replaced together with the plan.
            keep(context, found)
        return TaskOutcome(workspace=workspace)

    plan = plan_found(found, options.recipe, options.planning_memory_gb)
    if not plan.trainable:
        raise PlanError(f"this plan cannot be trained: {plan.why_not_trainable}")
    folds = _folds(found.taken)
    schedule = schedule_units(plan, folds, _configurations(options, plan), _chosen_folds(options, folds))
    job = Job(
        taken=found.taken,
        fingerprint=found.fingerprint,
        plan=plan,
        folds=folds,
        recipe=recipe,
        options=options,
        device=device,
        configurations=schedule.configurations,
    )
    require_unchanged(context, job)
    keep(context, found)
    write_record(workspace.plan, plan)
    write_record(workspace.folds, folds)
    sizes = "; ".join(f"{item.name} patch {item.patch_size} batch {item.batch_size}" for item in plan.configurations)
    journal.say("plan", f"plan: {sizes}; {folds.origin}")
    for note in schedule.notes:
        journal.say("schedule", note)
    if options.until is Until.PLAN:
        return TaskOutcome(workspace=workspace, plan=plan)

    require_disk(workspace.root, disk_need(plan, job.fingerprint))
    require_card(device, plan)
    journal.note("units", f"{len(schedule.units)} networks are to be trained", schedule_facts(job, schedule))
    with stage(context, Stage.PREPROCESS, device):
        preprocess(context, job.taken, plan, schedule.configurations)
    if options.until is Until.PREPROCESS:
        return TaskOutcome(workspace=workspace, plan=plan)

    from nnbox.stages.training import train_units  # noqa: PLC0415 - torch, which is slow to import and only needed now

    with stage(context, Stage.TRAIN, device):
        train_units(context, job, schedule)
    if options.until is Until.TRAIN:
        return TaskOutcome(workspace=workspace, plan=plan)
    return _choose_and_predict(context, job)


def _choose_and_predict(context: Context, job: Job) -> TaskOutcome:
    from nnbox.stages.selection import select  # noqa: PLC0415 - as slow to import as torch is

    workspace, plan, options = context.workspace, job.plan, job.options
    with stage(context, Stage.SELECT, job.device):
        selection = select(context, job, complete_folds(context, job))
    if selection is None or options.until is Until.SELECT:
        return TaskOutcome(workspace=workspace, plan=plan, selection=selection)
    with stage(context, Stage.PACKAGE, job.device):
        bundle = package_model(context, plan, selection)
    cases = job.taken.dataset.test_cases
    if not cases:
        context.journal.say("no_test_images", "there are no test images; the model is complete")
        return TaskOutcome(workspace=workspace, plan=plan, selection=selection)
    from nnbox.stages.prediction import Ensemble, PredictionSettings, predict_all  # noqa: PLC0415 - torch

    warn_left_out(context, options.intake.exclude)
    settings = PredictionSettings(replace_nonfinite=options.intake.replace_nonfinite)
    with stage(context, Stage.PREDICT, job.device):
        files = predict_all(context, job.taken, cases, Ensemble(bundle, job.device, settings))
    predictions = TaskPredictions(
        task=plan.task, files=files, expected=expected_cases(context.root, plan.task, cases, plan)
    )
    return TaskOutcome(workspace=workspace, plan=plan, selection=selection, predictions=predictions)


def _submit(workspace: Workspace, outcomes: Sequence[TaskOutcome], listener: Listener) -> None:
    """Write one archive for all tasks; a task without a prediction for a test image never gets that far."""
    tasks = [outcome.predictions for outcome in outcomes if outcome.predictions is not None]
    if not tasks:
        return
    names = [item.task for item in tasks]
    if len(set(names)) != len(names):
        raise IncompleteOutputError(f"two tasks are called {names[0]}; give their folders different names")
    archive = workspace.submission(names[0] if len(outcomes) == 1 else "submission")
    submit(archive, tasks, Journal(workspace.log, listener))


def recipe_of(options: TrainOptions) -> Recipe:
    """Return the recipe with ``--epochs`` in it.

    Raises:
        UsageError: no such recipe.
    """
    recipe = RECIPES.get(options.recipe)
    if recipe is None:
        raise UsageError(f"--recipe {options.recipe}: expected one of {', '.join(RECIPES)}")
    return recipe if options.epochs is None else replace(recipe, maximum_epochs=options.epochs)


def _folds(taken: TakenIn) -> Folds:
    dataset = taken.dataset
    if dataset.folds is not None:
        return Folds(validation=dataset.folds, origin=f"{len(dataset.folds)} folds as given with --splits")
    groups = {case.name: case.patient for case in dataset.cases if case.patient is not None}
    return make_folds([case.name for case in dataset.cases], groups=groups)


def _configurations(options: TrainOptions, plan: Plan) -> tuple[str, ...] | None:
    planned = [item.name for item in plan.configurations]
    unknown = [name for name in options.configurations or () if name not in planned]
    if unknown:
        raise UsageError(f"--configurations {','.join(unknown)}: this data set's plan has {', '.join(planned)}")
    return options.configurations


def _chosen_folds(options: TrainOptions, folds: Folds) -> tuple[int, ...] | None:
    count = len(folds.validation)
    unknown = [fold for fold in options.folds or () if fold >= count]
    if unknown:
        raise UsageError(f"--folds {','.join(map(str, unknown))}: this data set has folds 0 to {count - 1}")
    return options.folds
