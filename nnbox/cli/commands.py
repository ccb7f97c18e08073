"""The verbs as typer commands: words into option records. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nnbox.cli.looking import add_looking
from nnbox.cli.options import (
    Channels,
    Device,
    Exclude,
    Folds,
    Input,
    Json,
    Memory,
    MirrorAxes,
    Nonfinite,
    Output,
    Patients,
    Recipe,
    Splits,
    TrustGrid,
    Workers,
    split_words,
    whole_numbers,
)
from nnbox.version import version_sentence

app = typer.Typer(
    name="nnbox",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"{version_sentence()}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and the revision."),
    ] = False,
) -> None:
    """A labelled medical-image data set in; a cross-validated model and a checked submission out."""


add_looking(app)


@app.command("plan")
def _plan(
    root: Annotated[Path | None, typer.Option("--input", help="Root of the data set.")] = None,
    fingerprint: Annotated[Path | None, typer.Option("--fingerprint", help="A fingerprint instead of data.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Which task of the fingerprint file.")] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="2018, 2019, or 2021 (planning only).")] = "2019",
    memory: Memory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    as_text: Annotated[bool, typer.Option("--text", help="Print a methods paragraph.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the methods paragraph in LaTeX.")] = False,
    workers: Workers = None,
    channels: Channels = None,
    exclude: Exclude = None,
    trust_image_grid: TrustGrid = False,
    replace_nonfinite: Nonfinite = False,
) -> None:
    """Print the plan as an argument: each value with its rule, its source and the numbers it saw."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions

    intake = IntakeOptions(
        channels=split_words(channels),
        exclude=split_words(exclude) or (),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    if root is None and fingerprint is None and "NNBOX_INPUT" in os.environ:
        root = Path(os.environ["NNBOX_INPUT"])
    source = verbs.PlanSource(root=root, fingerprint=fingerprint, task=task, intake=intake, workers=workers)
    form = verbs.plan_form(as_json=as_json, as_text=as_text, as_latex=as_latex)
    verbs.plan(source, recipe=recipe, planning_memory_gb=memory, form=form)


@app.command("train")
def _train(
    root: Input,
    output: Output = None,
    recipe: Recipe = "2019",
    configurations: Annotated[
        list[str] | None, typer.Option("--configurations", help="2d, 3d_fullres, 3d_lowres, 3d_cascade. Default: all.")
    ] = None,
    folds: Folds = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs instead of the recipe's.")] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=1, help="Iterations per epoch instead of the recipe's 250.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Stop after: intake, plan, preprocess, train, select, predict.")
    ] = None,
    device: Device = "auto",
    memory: Memory = None,
    workers: Workers = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random stream.")] = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Byte-identical results on a GPU too (a CPU always is).")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Move the earlier run aside and start anew.")] = False,
    channels: Channels = None,
    patients: Patients = None,
    splits: Splits = None,
    mirror_axes: MirrorAxes = None,
    exclude: Exclude = None,
    trust_image_grid: TrustGrid = False,
    replace_nonfinite: Nonfinite = False,
) -> None:
    """Do the whole line: plan, train every configuration and fold, choose, predict, package."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.options import TrainOptions, parse_until

    intake = IntakeOptions(
        channels=split_words(channels),
        exclude=split_words(exclude) or (),
        patients=patients,
        splits=splits,
        mirror_axes=split_words(mirror_axes),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    options = TrainOptions(
        input=root,
        output=output,
        recipe=recipe,
        configurations=split_words(configurations),
        folds=whole_numbers("--folds", folds),
        epochs=epochs,
        iterations=iterations,
        until=parse_until(until),
        device=device,
        planning_memory_gb=memory,
        workers=workers,
        seed=seed,
        deterministic=deterministic,
        restart=restart,
        intake=intake,
    )
    verbs.train(options)


@app.command("predict")
def _predict(
    root: Input,
    output: Annotated[Path, typer.Option("--output", help="Where label maps and archive go.", envvar="NNBOX_OUTPUT")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Model bundle, folder or archive. Default: searched for.", envvar="NNBOX_MODEL"),
    ] = None,
    folds: Folds = None,
    no_mirroring: Annotated[bool, typer.Option("--no-mirroring", help="One pass instead of 8 (2D: 4).")] = False,
    device: Device = "auto",
    workers: Workers = None,
    exclude: Exclude = None,
    replace_nonfinite: Nonfinite = False,
) -> None:
    """Predict unlabelled images with a trained model, and write and check the archive."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.options import PredictOptions

    options = PredictOptions(
        input=root,
        output=output,
        model=model,
        folds=whole_numbers("--folds", folds),
        mirroring=not no_mirroring,
        device=device,
        workers=workers,
        intake=IntakeOptions(exclude=split_words(exclude) or (), replace_nonfinite=replace_nonfinite),
    )
    verbs.predict(options)


@app.command("evaluate")
def _evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", help="Folder of predicted label maps.")],
    references: Annotated[Path, typer.Option("--references", help="Folder of reference label maps, same names.")],
    tolerance_mm: Annotated[
        list[str] | None, typer.Option("--tolerance-mm", help="Surface-Dice tolerance: one for all, or one per label.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Score label maps: Dice, surface Dice and HD95 per case and label."""
    from nnbox import verbs

    verbs.evaluate(predictions, references, tolerances=split_words(tolerance_mm), json_file=json_file)


@app.command("check-submission")
def _check_submission(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="The result archive.")],
    root: Input,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude-from-submission", help="JSON list of cases that need not be there."),
    ] = None,
) -> None:
    """Check a result archive against the test images; exit code 7 names case and rule of every defect."""
    from nnbox import verbs

    verbs.check_submission(archive, root, exclude)


@app.command("handover")
def _handover(
    model: Annotated[Path, typer.Option("--model", help="Model bundle, folder or archive; not changed.")],
    input_slugs: Annotated[
        list[str],
        typer.Option("--input-slugs", help="The platform's inputs in the order of the model's channels: ct,pet."),
    ],
    output_slug: Annotated[
        str, typer.Option("--output-slug", help="The platform's output: a folder of /output/images.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="Where archive and report go. Default: handover/ beside the bundle.")
    ] = None,
    renumber_labels: Annotated[
        bool, typer.Option("--renumber-labels", help="Write label values 1, 2, … where the model's have gaps.")
    ] = False,
    memory: Annotated[int, typer.Option("--memory", help="GB that will be asked of the platform; it keeps 1.")] = 8,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Rehearse with the plan's median image, however large.")
    ] = False,
) -> None:
    """Make a model for grand-challenge.org: its slugs in the bundle, one archive, rehearsed as the platform runs it."""
    from nnbox import verbs
    from nnbox.stages.options import HandoverOptions

    options = HandoverOptions(
        model=model,
        input_slugs=split_words(input_slugs) or (),
        output_slug=output_slug,
        output=output,
        renumber_labels=renumber_labels,
        memory_gb=memory,
        full_size=full_size,
    )
    verbs.hand_over(options)


@app.command("synthesize")
def _synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set goes; must not exist.")],
    preset: Annotated[str, typer.Option("--preset", help="Which kind: smoke, ct, 2d or permuted.")] = "smoke",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random stream.")] = 0,
) -> None:
    """Make a small synthetic data set in Decathlon layout, for smoke tests and demos."""
    from nnbox import verbs

    verbs.synthesize(folder, preset=preset, seed=seed)
