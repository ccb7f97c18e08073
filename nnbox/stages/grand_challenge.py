"""``predict`` as an algorithm on grand-challenge.org: one case in; in the output one label map and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from nnbox.errors import DataError, Problem, UsageError
from nnbox.imaging.io import read_labels, write_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.intake.choices import channels_of, printable
from nnbox.intake.facts import CaseTask
from nnbox.intake.read_case import read_case
from nnbox.layouts.detect import is_grand_challenge
from nnbox.layouts.draft import task_name
from nnbox.layouts.grand_challenge import IMAGES, LAYOUT, case_of, find_images
from nnbox.layouts.names import OWN_FOLDER
from nnbox.network.device import choose_device
from nnbox.records.dataset import Case, Choices, Dataset
from nnbox.records.handover import Handover
from nnbox.stages.context import Context, TakenIn, open_context
from nnbox.stages.ensemble import Ensemble, PredictionSettings
from nnbox.stages.journal import Journal, Listener
from nnbox.stages.model_place import require_model
from nnbox.stages.options import PredictOptions
from nnbox.stages.places import require_places, require_scratch
from nnbox.stages.prediction import predict_all
from nnbox.stages.resources import worker_count
from nnbox.stages.workspace import Workspace
from nnbox.submission.bundle import ModelBundle, open_bundle

_LEAVE_OUT = re.compile(r",? or (leave the case out with |leave it out with )?--exclude .*$")


def predict_for_platform(options: PredictOptions, listener: Listener) -> Path:
    """Predict the one case of an algorithm's input; return the label map ``<output>/images/<slug>/<name>.mha``.

    Everything else that a run writes (receipts, an unpacked archive) lies in a temporary folder that is gone at the
    end: the platform collects all of the output folder.

    Raises:
        NnboxError: with the exit code of what went wrong; the output folder then holds no label map.
    """
    if options.intake.exclude:
        raise UsageError(f"--exclude {','.join(options.intake.exclude)}: the input of an algorithm is one case")
    require_places(options.output, options.input)
    with _scratch(options.output) as scratch:
        device = choose_device(options.device)
        listener(None, f"device: {device.name} ({device.description})")
        workspace = Workspace(scratch / "run")
        workspace.root.mkdir()
        context = open_context(options.input, workspace, Journal(None, listener), worker_count(options.workers))
        model = require_model(options)
        bundle = open_bundle(model, scratch)
        handover = _require_handover(bundle, model, options.input)
        context.journal.say("model", f"model: {model}, {bundle.manifest.task}, {bundle.selection.candidate}")
        case = _require_case(options.input, handover)
        target = options.output / IMAGES / handover.output_slug / case.output_name
        _require_only_place(target)
        replace_nonfinite = options.intake.replace_nonfinite or bundle.plan.choices.replace_nonfinite
        taken = _take_in(context, case, bundle, replace_nonfinite=replace_nonfinite)
        settings = PredictionSettings(
            folds=options.folds,
            mirroring=options.mirroring,
            precision=options.precision,
            replace_nonfinite=replace_nonfinite,
            memory_limit_gb=options.memory_limit_gb,
        )
        (predicted,) = predict_all(context, taken, (case,), Ensemble(bundle, device, settings))
        _deliver(predicted, target, bundle, handover)
        context.journal.say("delivered", f"the platform's output: {target}")
    return target


def platform_output(root: Path, output: str | None) -> tuple[str, ...]:
    """Return the words that send a label map where the platform collects it: ``/output``, beside ``/input``.

    There it may be an ordinary folder of the container; elsewhere that would mean that results are to stay with the
    input, which the platform mounts read-only.
    """
    if is_grand_challenge(root) and (output is None or Path(output) == root / OWN_FOLDER):
        return ("--output", str(root.parent / "output"))
    return ()


def _require_handover(bundle: ModelBundle, model: Path, root: Path) -> Handover:
    if bundle.handover is None:
        channels = ",".join(f"SLUG-OF-{channel.name}" for channel in bundle.plan.channels)
        raise UsageError(
            f"{root} is laid out as the input of an algorithm on grand-challenge.org, and the model {model} does not "
            "say which input is which channel. What to do: make a model that does with nnbox handover --model "
            f"{model} --input-slugs {channels} --output-slug SLUG; or, to predict a plain folder of images, name that "
            "folder with --input."
        )
    return bundle.handover


def _require_case(root: Path, handover: Handover) -> Case:
    found = find_images(root, handover.input_slugs)
    if found.problems:
        raise DataError(
            f"{root} does not hold what the model was handed over for (inputs {', '.join(handover.input_slugs)}):",
            tuple(map(_printable, found.problems)),
        )
    return case_of(found.files)


def _require_only_place(target: Path) -> None:
    """See that the label map will be the only file of its folder, and clear away what a killed run left there."""
    folder = target.parent
    if not folder.is_dir():
        return
    for leftover in folder.glob(".part-*"):
        leftover.unlink()
    if others := sorted(entry.name for entry in folder.iterdir() if entry.name != target.name):
        raise UsageError(
            f"{folder} already holds {others[0]}, and the platform takes one image from it. What to do: empty the "
            "output folder, or name another with --output; a container predicts one case."
        )


def _take_in(context: Context, case: Case, bundle: ModelBundle, *, replace_nonfinite: bool) -> TakenIn:
    """Read the case once to see that it is whole and of the model's kind."""
    plan = bundle.plan
    reading = read_case(
        CaseTask(
            root=str(context.root),
            case=case,
            labels=None,
            channels=len(plan.channels),
            channels_from="the model",
            trust_image_grid=plan.choices.trust_image_grid,
            replace_nonfinite=replace_nonfinite,
            known={},
        )
    )
    if reading.problems or reading.facts is None:
        problems = tuple(map(_without_exclude, reading.problems))
        raise DataError(f"{context.root}: the case cannot be predicted:", problems)
    if reading.facts.dimension != plan.dimension:
        raise DataError(
            f"{context.root}: the image is {reading.facts.dimension}D, the model is {plan.dimension}D. What to do: "
            "give the images of the model's task, or hand over another model."
        )
    shape = " x ".join(map(str, reading.facts.shape_vox))
    context.journal.say("intake", f"input: {LAYOUT}, {', '.join(case.images)}, {shape} voxels (z, y, x)")
    dataset = Dataset(
        task=task_name(context.root),
        layout=LAYOUT,
        dimension=plan.dimension,
        channels=channels_of([channel.name for channel in plan.channels]),
        labels=(),
        cases=(),
        test_cases=(case,),
        folds=None,
        choices=Choices(replace_nonfinite=replace_nonfinite),
        warnings=(),
    )
    return TakenIn(dataset=dataset, digests=reading.digests)


def _printable(problem: Problem) -> Problem:
    """Spell out bytes of file names that are no UTF-8, and do not name the one case there is."""
    file = None if problem.file is None else printable(problem.file)
    return replace(problem, what=printable(problem.what), case=None, file=file)


def _without_exclude(problem: Problem) -> Problem:
    """Drop advice that does not help where there is one case only."""
    return replace(_printable(problem), remedy=_LEAVE_OUT.sub("", printable(problem.remedy)))


def _deliver(predicted: Path, target: Path, bundle: ModelBundle, handover: Handover) -> None:
    """Write the label map where the platform looks for it, with the values that the handover promised."""
    labels, grid = read_labels(predicted)
    values = np.array([0, *handover.label_values], dtype=np.uint8)
    write_labels(target, values[to_consecutive(labels, bundle.plan.labels)], grid)


@contextlib.contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Yield a temporary folder; in a container without any, one in the output folder, gone at the end."""
    before, chosen = os.environ.get("TMPDIR"), tempfile.tempdir
    try:
        tempfile.gettempdir()
        place = None
    except FileNotFoundError:
        place = output
    with tempfile.TemporaryDirectory(dir=place, prefix=".nnbox-") as folder:
        if place is not None:
            os.environ["TMPDIR"] = tempfile.tempdir = folder  # worker processes and libraries want one, too
        try:
            require_scratch(Path(folder))
            yield Path(folder)
        finally:
            tempfile.tempdir = chosen
            if before is None:
                os.environ.pop("TMPDIR", None)
            else:
                os.environ["TMPDIR"] = before
