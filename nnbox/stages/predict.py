"""``predict``: unlabelled images and a model bundle in, label maps and a checked archive out."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from nnbox.errors import DataError
from nnbox.intake.take_in import take_in
from nnbox.layouts.detect import detect, find_tasks, is_grand_challenge
from nnbox.network.device import choose_device
from nnbox.records.dataset import Case, Dataset
from nnbox.stages.completion import background_only
from nnbox.stages.context import Context, TakenIn, open_context
from nnbox.stages.ensemble import Ensemble, PredictionSettings
from nnbox.stages.grand_challenge import predict_for_platform
from nnbox.stages.intake import require_sound
from nnbox.stages.journal import Journal, Listener
from nnbox.stages.leftovers import UNPACKED, swept
from nnbox.stages.lock import held
from nnbox.stages.model_place import require_model
from nnbox.stages.options import PredictOptions
from nnbox.stages.packaging import TaskPredictions, expected_cases, submit, warn_left_out
from nnbox.stages.places import require_places, require_scratch
from nnbox.stages.prediction import predict_all
from nnbox.stages.presence import present
from nnbox.stages.resources import worker_count
from nnbox.stages.workspace import Workspace
from nnbox.submission.bundle import ModelBundle, open_bundle

_FLAT = "flat"


def predict(options: PredictOptions, listener: Listener) -> tuple[Path, ...]:
    """Predict every task below the input and write one checked archive; return the label maps.

    The input of an algorithm on grand-challenge.org is one case: see `nnbox.stages.grand_challenge`.

    Raises:
        NnboxError: with the exit code of what went wrong; see `nnbox.errors`.
    """
    if is_grand_challenge(options.input):
        return (predict_for_platform(options, listener),)
    roots = find_tasks(options.input)
    require_places(options.output, options.input)
    require_scratch(options.output)
    with (
        held(options.output / ".lock"),
        swept(options.output),
        present(options.output, listener) as listener,  # noqa: PLR1704 - the run speaks through it
        tempfile.TemporaryDirectory(dir=options.output, prefix=UNPACKED) as scratch,
    ):
        device = choose_device(options.device)
        listener(None, f"device: {device.name} ({device.description})")
        tasks = []
        for root in roots:
            several = len(roots) > 1
            workspace = Workspace(options.output / root.name if several else options.output)
            workspace.root.mkdir(parents=True, exist_ok=True)
            context = open_context(root, workspace, Journal(workspace.log, listener), worker_count(options.workers))
            model = require_model(options, root.name if several else None)
            bundle = open_bundle(model, Path(scratch))
            context.journal.say("model", f"model: {model}, {bundle.manifest.task}, {bundle.selection.candidate}")
            taken, cases = _cases(context, options, bundle)
            settings = PredictionSettings(
                folds=options.folds,
                mirroring=options.mirroring,
                precision=options.precision,
                replace_nonfinite=options.intake.replace_nonfinite,
                memory_limit_gb=options.memory_limit_gb,
            )
            warn_left_out(context, options.intake.exclude)
            files = predict_all(context, taken, cases, Ensemble(bundle, device, settings))
            expected = expected_cases(root, bundle.manifest.task, cases, bundle.plan)
            empty = background_only(workspace.log, cases, files)
            tasks.append(TaskPredictions(task=bundle.manifest.task, files=files, expected=expected, empty=empty))
        workspace = Workspace(options.output)
        archive = workspace.submission(tasks[0].task if len(tasks) == 1 else "submission")
        submit(archive, tasks, Journal(workspace.log, listener))
    return tuple(path for task in tasks for path in task.files)


def _cases(context: Context, options: PredictOptions, bundle: ModelBundle) -> tuple[TakenIn, tuple[Case, ...]]:
    """Read the images to predict and see that they are of the model's task."""
    intake = options.intake
    if detect(context.root).channels is None:
        # Nothing in the data set names its channels: they are taken for the model's, whose number is then checked.
        intake = replace(intake, channels=tuple(channel.name for channel in bundle.plan.channels))
    result = take_in(context.root, intake, workers=context.workers, purpose="predict")
    dataset = require_sound(result.dataset, result.problems, context.journal, context.root)
    require_same_task(dataset, bundle)
    if not dataset.test_cases:
        raise DataError(f"{context.root} holds no unlabelled images; there is nothing to predict")
    context.journal.say("intake", f"input: {dataset.layout}, {len(dataset.test_cases)} images to predict")
    return TakenIn(dataset=dataset, digests=result.digests), dataset.test_cases


def require_same_task(dataset: Dataset, bundle: ModelBundle) -> None:
    """Refuse to predict with a model of another task: another name, other channels, or another dimension.

    A flat folder of images has no name and no channel names; there the number of channels decides. So it does where the
    model's names were given with ``--channels``, against those that the data set states.

    Raises:
        DataError: what differs, and what to do.
    """
    plan = bundle.plan
    remedy = "What to do: give the images of the model's task, or another --model"
    wanted = [channel.name for channel in plan.channels]
    found = [channel.name for channel in dataset.channels]
    if len(found) != len(wanted):
        raise DataError(f"the images have {len(found)} channels, the model expects {len(wanted)} ({wanted}). {remedy}.")
    if dataset.dimension != plan.dimension:
        raise DataError(f"the images are {dataset.dimension}D, the model is {plan.dimension}D. {remedy}.")
    if dataset.layout == _FLAT:
        return
    if dataset.task != plan.task:
        raise DataError(f"the images are of {dataset.task}, the model is of {plan.task}. {remedy}.")
    if plan.choices.channels is None and [name.lower() for name in found] != [name.lower() for name in wanted]:
        raise DataError(f"the images have the channels {found}, the model expects {wanted}. {remedy}.")
