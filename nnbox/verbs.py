"""What each verb does, from option records to what the user sees."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nnbox.console import complain, is_terminal, listen, live_status, print_raw, say, show_table
from nnbox.errors import IncompleteOutputError, ResourceError, Severity, UsageError
from nnbox.intake.options import IntakeOptions
from nnbox.records.codec import dumps, encode
from nnbox.stages.options import HandoverOptions, PredictOptions, TrainOptions


class PlanForm(StrEnum):
    """How a plan is printed."""

    ARGUMENT = "argument"
    JSON = "json"
    TEXT = "text"
    LATEX = "latex"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSource:
    """Where a plan's numbers come from: a data set or a fingerprint file.

    Attributes:
        root: the data set, or None.
        fingerprint: the file, or None.
        task: which task of the file.
        intake: what is said about the data set.
        workers: worker processes.
    """

    root: Path | None
    fingerprint: Path | None
    task: str | None
    intake: IntakeOptions
    workers: int | None


def plan_form(*, as_json: bool, as_text: bool, as_latex: bool) -> PlanForm:
    """Return the form asked for.

    Raises:
        UsageError: more than one.
    """
    asked = [
        form
        for form, wanted in ((PlanForm.JSON, as_json), (PlanForm.TEXT, as_text), (PlanForm.LATEX, as_latex))
        if wanted
    ]
    if len(asked) > 1:
        raise UsageError("--json, --text and --latex exclude each other; choose one")
    return asked[0] if asked else PlanForm.ARGUMENT


def plan(source: PlanSource, *, recipe: str, planning_memory_gb: float | None, form: PlanForm) -> None:
    """Print the plan of a data set or of a fingerprint."""
    from nnbox.rules.methods import methods_text, plan_argument
    from nnbox.stages.planning import plan_from_data, plan_from_file
    from nnbox.stages.resources import worker_count

    root = source.root
    if (root is None) == (source.fingerprint is None):
        raise UsageError("plan needs either --input DIR or --fingerprint FILE")
    if source.fingerprint is not None:
        fingerprint, planned = plan_from_file(source.fingerprint, source.task, recipe, planning_memory_gb)
    elif root is not None:
        workers = worker_count(source.workers)
        fingerprint, planned = plan_from_data(root, source.intake, recipe, planning_memory_gb, workers, listen)
    if form is PlanForm.JSON:
        print_raw(dumps(planned))
    elif form is PlanForm.ARGUMENT:
        print_raw(plan_argument(planned))
    else:
        print_raw(methods_text(planned, fingerprint, latex=form is PlanForm.LATEX))


def train(options: TrainOptions) -> None:
    """Do the whole line and show what came out."""
    from nnbox.stages.places import require_places, require_scratch

    # Before torch is imported: a wrong mount is told within a second. Workers need a temporary folder for their socket.
    output = options.output or options.input / "nnbox"
    require_places(output, options.input)
    require_scratch(output)
    if options.workers != 1:
        from nnbox.stages.pool import start_workers

        start_workers(training=options.needs_networks)  # they import what they need while this process does
    from nnbox.stages.status import follow
    from nnbox.stages.summary import result_rows, selection_sentence
    from nnbox.stages.train import train as run_train

    with live_status(follow(output)):
        outcomes = run_train(options, listen, steps_told=not is_terminal())
    for outcome in outcomes:
        evidence = outcome.workspace.crossvalidation
        if outcome.selection is None or outcome.plan is None or not evidence.exists():
            continue
        columns, rows = result_rows(evidence, outcome.plan)
        show_table(f"{outcome.plan.task}: cross-validation", columns, rows)
        say(selection_sentence(outcome.selection, outcome.plan))


def predict(options: PredictOptions) -> None:
    """Predict unlabelled images with a bundle, then write and check the archive."""
    from nnbox.stages.places import require_places

    require_places(options.output, options.input)
    from nnbox.stages.predict import predict as run_predict

    run_predict(options, listen)


def evaluate(predictions: Path, references: Path, *, tolerances: tuple[str, ...] | None, as_json: bool) -> None:
    """Score a folder of label maps and show the means, or every case as JSON."""
    from nnbox.evaluation.summary import summarize
    from nnbox.limits import available_cpus
    from nnbox.stages.evaluate import evaluate_folders

    found = evaluate_folders(predictions, references, tolerances, workers=available_cpus())
    summary = summarize(found.cases)
    if found.only_predicted:
        strays = ", ".join(map(str, found.only_predicted))
        complain(Severity.WARNING, f"no reference holds the label {strays}: wherever it is predicted, it is wrong")
    for case, moved in found.displaced_vox.items():
        what = f"case {case}: the prediction's header moves the reference's corners by {moved:.3g} voxels"
        remedy = "write the prediction on the reference's grid if its header is right"
        complain(Severity.WARNING, f"{what}; scored voxel by voxel all the same. What to do: {remedy}.")
    if as_json:
        print_raw(json.dumps({"evaluation": encode(found), "means": encode(summary)}, indent=1))
        return
    rows = [
        [
            str(value),
            _number(item.dice),
            _number(item.surface_dice),
            f"{tolerance:g}",
            _number(item.hd95_mm),
            str(item.cases),
        ]
        for value, tolerance, item in zip(found.label_values, found.tolerances_mm, summary, strict=True)
    ]
    columns = ["label", "Dice", "surface Dice", "tolerance mm", "HD95 mm", "cases"]
    show_table(f"{len(found.cases)} cases: means over cases", columns, rows)


def check_submission(archive: Path, root: Path, exclude: Path | None) -> None:
    """Check a result archive against the test images of a data set.

    Raises:
        IncompleteOutputError: with every defect.
    """
    from nnbox.stages.submission import check_archive

    problems, count = check_archive(archive, root, exclude)
    if problems:
        raise IncompleteOutputError(f"{archive}: {len(problems)} defect{'' if len(problems) == 1 else 's'}:", problems)
    say(f"{archive}: {count} cases, every check passed")


def hand_over(options: HandoverOptions) -> None:
    """Make a model for the platform and rehearse it; show what was seen.

    Raises:
        IncompleteOutputError: the rehearsal failed; there is no archive then.
    """
    from nnbox.stages.handover import hand_over as run_handover
    from nnbox.stages.rehearsal_table import failures, limit_rows, rehearsal_columns, rehearsal_rows

    outcome = run_handover(options, listen)
    rehearsal = outcome.rehearsal
    show_table("the platform's limits", ("limit", "in this rehearsal"), limit_rows(rehearsal), numbers=False)
    show_table("rehearsal", rehearsal_columns(rehearsal), rehearsal_rows(rehearsal), numbers=False)
    for name, before, after in outcome.renumbered:
        say(f"label {name}: the model's value {before} is written as {after}")
    if outcome.archive is None:
        raise IncompleteOutputError(
            f"the rehearsal failed, and no archive was written; all of it is in {outcome.report}:", failures(rehearsal)
        )
    size_mb = outcome.archive.stat().st_size / 1e6
    say(f"model to upload: {outcome.archive} ({size_mb:.1f} MB); the rehearsal: {outcome.report}")


def synthesize(folder: Path, *, preset: str, seed: int) -> None:
    """Make a small synthetic data set."""
    from nnbox.synthesize import synthesize as make

    try:
        make(folder, preset=preset, seed=seed)
    except OSError as error:
        raise ResourceError(
            f"{folder} cannot be written ({error.strerror}). What to do: name another folder."
        ) from None
    say(f"made {folder} (preset {preset}, seed {seed})")


def decide(root: Path, output: str | None) -> list[str]:
    """Choose the verb when none was typed: labelled data and no model → train; a model and no labels → predict.

    Raises:
        UsageError: neither; the message says what was seen and what to type.
    """
    from nnbox.stages.grand_challenge import platform_output
    from nnbox.stages.model_place import find_model
    from nnbox.stages.survey import survey

    if not root.is_dir():
        raise UsageError(
            f"{root} is not a folder. What to do: mount the data set there, e.g. docker run -v data:{root}"
        )
    seen = survey(root)
    named = os.environ.get("NNBOX_MODEL")
    model = find_model(Path(named) if named else None, root, Path(output) if output else None)
    if seen.labelled and model is None:
        say(f"{seen.sentence}, and no model: train")
        return ["train"]
    if model is not None and seen.images and not seen.labelled:
        say(f"{seen.sentence}, and a model at {model}: predict")
        return ["predict", *platform_output(root, output)]
    found = f"a model at {model}" if model is not None else "no model"
    raise UsageError(
        f"{root}: {seen.sentence}, and {found}. What to do: type 'train' for a labelled data set, 'predict' with a "
        "model mounted at /model, or 'inspect' to see what was detected; for example: "
        "docker run --gpus all -v data:/input nnbox train"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
