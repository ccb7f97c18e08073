"""The verbs as typer commands: words into option records. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from nnbox.cli.looking import add_following, add_inspect
from nnbox.cli.options import (
    RECIPES,
    Augmentation,
    Channels,
    Exclude,
    Folds,
    Input,
    Memory,
    MirrorAxes,
    Nonfinite,
    Output,
    Parallel,
    Patients,
    Precision,
    Recipe,
    Seed,
    Splits,
    TrainingDevice,
    TrustGrid,
    Without,
    Workers,
    split_words,
    whole_numbers,
)
from nnbox.cli.using import add_using
from nnbox.version import version_sentence

app = typer.Typer(
    name="nnbox",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_STAGES = ("intake", "plan", "preprocess", "train", "select", "predict")


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


add_inspect(app)


@app.command("plan")
def _plan(
    root: Annotated[
        Path | None, typer.Option("--input", metavar="DIR", help="Root of the data set.", show_default="NNBOX_INPUT")
    ] = None,
    fingerprint: Annotated[
        Path | None, typer.Option("--fingerprint", metavar="FILE", help="A fingerprint instead of data.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="Which task of the fingerprint file.", show_default="the only one"),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="2018, 2019, or 2021 (planning only).",
            autocompletion=lambda: (*RECIPES, "2021"),
        ),
    ] = "2019",
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
    """Print the plan: each value with its rule and source."""
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
        list[str] | None,
        typer.Option(
            "--configurations", metavar="LIST", help="Of 2d, 3d_fullres, 3d_lowres, 3d_cascade.", show_default="all"
        ),
    ] = None,
    folds: Folds = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, metavar="N", help="Epochs of each network.", show_default="1000, the recipe's"),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations", min=1, metavar="N", help="Training steps per epoch.", show_default="250, the recipe's"
        ),
    ] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            "--time-budget",
            metavar="TIME",
            help="For the whole run, e.g. 12h, 90m, 1d12h: a schedule that fits.",
            show_default="the recipe's schedule",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="STAGE",
            help="Stop after intake, plan, preprocess, train, select or predict.",
            show_default="go to the end",
            autocompletion=lambda: _STAGES,
        ),
    ] = None,
    device: TrainingDevice = "auto",
    parallel: Parallel = "auto",
    memory: Memory = None,
    workers: Workers = None,
    seed: Seed = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Byte-identical results on a GPU too (a CPU always is).")
    ] = False,
    precision: Precision = "auto",
    augmentation: Augmentation = "auto",
    without: Without = None,
    restart: Annotated[bool, typer.Option("--restart", help="Move the earlier run aside and start anew.")] = False,
    channels: Channels = None,
    patients: Patients = None,
    splits: Splits = None,
    mirror_axes: MirrorAxes = None,
    exclude: Exclude = None,
    trust_image_grid: TrustGrid = False,
    replace_nonfinite: Nonfinite = False,
) -> None:
    """Do it all: plan, train, cross-validate, choose, predict."""
    asked_at = time.monotonic()  # before torch is imported: a time budget counts from here
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.records.engine import EngineWishes, parse_augmentation, parse_without
    from nnbox.records.precision import parse_precision
    from nnbox.stages.options import TrainOptions, parse_parallel, parse_time_budget, parse_until

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
        time_budget_seconds=parse_time_budget(time_budget),
        until=parse_until(until),
        device=device,
        parallel=parse_parallel(parallel),
        planning_memory_gb=memory,
        workers=workers,
        seed=seed,
        deterministic=deterministic,
        restart=restart,
        engine=EngineWishes(
            precision=parse_precision(precision),
            augmentation=parse_augmentation(augmentation),
            without=parse_without(split_words(without) or ()),
        ),
        asked_at=asked_at,
        intake=intake,
    )
    verbs.train(options)


add_following(app)


add_using(app)
