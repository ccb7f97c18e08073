"""The typer door: words on a command line into option records, and failures into exit codes.

Nothing heavy is imported before a verb needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from nnbox import __version__
from nnbox.errors import NnboxError, Severity, UsageError

_BUG = 70
_LIST_OPTIONS = {"--folds", "--configurations", "--channels", "--exclude", "--mirror-axes", "--tolerance-mm"}

app = typer.Typer(
    name="nnbox",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Input = Annotated[
    Path, typer.Option("--input", help="Root of the data set, or of several Task… folders.", envvar="NNBOX_INPUT")
]
_Output = Annotated[
    Path | None,
    typer.Option("--output", help="Where everything goes. Default: <input>/nnbox.", envvar="NNBOX_OUTPUT"),
]
_Recipe = Annotated[str, typer.Option("--recipe", help="Version of the method: 2018 or 2019.")]
_Memory = Annotated[
    float | None,
    typer.Option("--planning-memory", help="GB the planner's budgets are scaled to. Default: 12, as the documents."),
]
_Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
_Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="Worker processes. Default: the CPUs this process may use.")
]
_Folds = Annotated[list[str] | None, typer.Option("--folds", help="Folds to use, e.g. 0,1. Default: all.")]
_Channels = Annotated[list[str] | None, typer.Option("--channels", help="Channel names in file order: CT or T1,T2.")]
_Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Cases to leave out.")]
_MirrorAxes = Annotated[
    list[str] | None, typer.Option("--mirror-axes", help="Axes of the file to mirror: any of z,y,x, or none.")
]
_Patients = Annotated[
    Path | None, typer.Option("--patients", help="JSON {case: patient}: a patient stays in one fold.")
]
_Splits = Annotated[Path | None, typer.Option("--splits", help="JSON with ready folds: lists of validation cases.")]
_TrustGrid = Annotated[
    bool, typer.Option("--trust-image-grid", help="Where a label's header disagrees, believe the image.")
]
_Nonfinite = Annotated[bool, typer.Option("--replace-nonfinite", help="Read non-finite voxels as 0.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]


def _split(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Allow ``--folds 0,1`` as well as ``--folds 0 1`` and ``--folds 0 --folds 1``."""
    if not values:
        return None
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def _numbers(option: str, values: Sequence[str] | None) -> tuple[int, ...] | None:
    parts = _split(values)
    if parts is None:
        return None
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} {','.join(parts)}: whole numbers are expected, e.g. {option} 0,1")
    return tuple(int(part) for part in parts)


def _show_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"nnbox {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A labelled medical-image data set in; a cross-validated model and a checked submission out."""


@app.command("inspect")
def _inspect(
    root: _Input,
    recipe: _Recipe = "2019",
    memory: _Memory = None,
    workers: _Workers = None,
    channels: _Channels = None,
    exclude: _Exclude = None,
    patients: _Patients = None,
    splits: _Splits = None,
    mirror_axes: _MirrorAxes = None,
    trust_image_grid: _TrustGrid = False,
    replace_nonfinite: _Nonfinite = False,
) -> None:
    """Show what was detected, every problem, what would be trained, and the disk it needs."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions

    intake = IntakeOptions(
        channels=_split(channels),
        exclude=_split(exclude) or (),
        patients=patients,
        splits=splits,
        mirror_axes=_split(mirror_axes),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    verbs.inspect(root, intake, recipe=recipe, planning_memory_gb=memory, workers=workers)


@app.command("plan")
def _plan(
    root: Annotated[Path | None, typer.Option("--input", help="Root of the data set.")] = None,
    fingerprint: Annotated[Path | None, typer.Option("--fingerprint", help="A fingerprint instead of data.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Which task of the fingerprint file.")] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="2018, 2019, or 2021 (planning only).")] = "2019",
    memory: _Memory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    as_text: Annotated[bool, typer.Option("--text", help="Print a methods paragraph.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the methods paragraph in LaTeX.")] = False,
    workers: _Workers = None,
    channels: _Channels = None,
    exclude: _Exclude = None,
    trust_image_grid: _TrustGrid = False,
    replace_nonfinite: _Nonfinite = False,
) -> None:
    """Print the plan as an argument: each value with its rule, its source and the numbers it saw."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions

    intake = IntakeOptions(
        channels=_split(channels),
        exclude=_split(exclude) or (),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    source = verbs.PlanSource(root=root, fingerprint=fingerprint, task=task, intake=intake, workers=workers)
    form = verbs.plan_form(as_json=as_json, as_text=as_text, as_latex=as_latex)
    verbs.plan(source, recipe=recipe, planning_memory_gb=memory, form=form)


@app.command("train")
def _train(
    root: _Input,
    output: _Output = None,
    recipe: _Recipe = "2019",
    configurations: Annotated[
        list[str] | None, typer.Option("--configurations", help="2d, 3d_fullres, 3d_lowres, 3d_cascade. Default: all.")
    ] = None,
    folds: _Folds = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs instead of the recipe's.")] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", min=1, help="Iterations per epoch instead of the recipe's 250.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Stop after: intake, plan, preprocess, train, select, predict.")
    ] = None,
    device: _Device = "auto",
    memory: _Memory = None,
    workers: _Workers = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random stream.")] = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Byte-identical results on a GPU too (a CPU always is).")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Move the earlier run aside and start anew.")] = False,
    channels: _Channels = None,
    patients: _Patients = None,
    splits: _Splits = None,
    mirror_axes: _MirrorAxes = None,
    exclude: _Exclude = None,
    trust_image_grid: _TrustGrid = False,
    replace_nonfinite: _Nonfinite = False,
) -> None:
    """Do the whole line: plan, train every configuration and fold, choose, predict, package."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.options import TrainOptions, parse_until

    intake = IntakeOptions(
        channels=_split(channels),
        exclude=_split(exclude) or (),
        patients=patients,
        splits=splits,
        mirror_axes=_split(mirror_axes),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    options = TrainOptions(
        input=root,
        output=output,
        recipe=recipe,
        configurations=_split(configurations),
        folds=_numbers("--folds", folds),
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
    root: _Input,
    output: Annotated[
        Path, typer.Option("--output", help="Where label maps and archive go.", envvar="NNBOX_OUTPUT")
    ],
    model: Annotated[
        Path | None, typer.Option("--model", help="Model bundle, folder or archive. Default: searched for.")
    ] = None,
    folds: _Folds = None,
    no_mirroring: Annotated[bool, typer.Option("--no-mirroring", help="One pass instead of 8 (2D: 4).")] = False,
    device: _Device = "auto",
    workers: _Workers = None,
    exclude: _Exclude = None,
    replace_nonfinite: _Nonfinite = False,
) -> None:
    """Predict unlabelled images with a trained model, and write and check the archive."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.stages.options import PredictOptions

    options = PredictOptions(
        input=root,
        output=output,
        model=model,
        folds=_numbers("--folds", folds),
        mirroring=not no_mirroring,
        device=device,
        workers=workers,
        intake=IntakeOptions(exclude=_split(exclude) or (), replace_nonfinite=replace_nonfinite),
    )
    verbs.predict(options)


@app.command("evaluate")
def _evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", help="Folder of predicted label maps.")],
    references: Annotated[Path, typer.Option("--references", help="Folder of reference label maps, same names.")],
    tolerance_mm: Annotated[
        list[str] | None, typer.Option("--tolerance-mm", help="Surface-Dice tolerance: one for all, or one per label.")
    ] = None,
    json_file: _Json = None,
) -> None:
    """Score label maps: Dice, surface Dice and HD95 per case and label."""
    from nnbox import verbs

    verbs.evaluate(predictions, references, tolerances=_split(tolerance_mm), json_file=json_file)


@app.command("check-submission")
def _check_submission(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="The result archive.")],
    root: _Input,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude-from-submission", help="JSON list of cases that need not be there."),
    ] = None,
) -> None:
    """Check a result archive against the test images; exit code 7 names case and rule of every defect."""
    from nnbox import verbs

    verbs.check_submission(archive, root, exclude)


@app.command("synthesize")
def _synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set goes; must not exist.")],
    preset: Annotated[str, typer.Option("--preset", help="Which kind: smoke, ct, 2d or permuted.")] = "smoke",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random stream.")] = 0,
) -> None:
    """Make a small synthetic data set in Decathlon layout, for smoke tests and demos."""
    from nnbox import verbs

    verbs.synthesize(folder, preset=preset, seed=seed)


def _spread_lists(words: Sequence[str]) -> list[str]:
    """Turn ``--folds 0 1`` into ``--folds 0 --folds 1``: what people type, in the form click reads."""
    spread: list[str] = []
    option: str | None = None
    values = 0
    for word in words:
        if word.startswith("-"):
            option, values = (word, 0) if word in _LIST_OPTIONS else (None, 0)
        elif option is not None:
            values += 1
            if values > 1:
                spread.append(option)
        spread.append(word)
    return spread


def _end_politely(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code (0, 2 usage, 3 data, 4 plan, 5 resources, 6 training, 7 output, 70 bug)."""
    from nnbox.console import complain

    arguments = list(sys.argv[1:] if words is None else words)
    signal.signal(signal.SIGTERM, _end_politely)
    try:
        if not arguments and "NNBOX_INPUT" in os.environ:
            from nnbox import verbs

            arguments = verbs.decide(Path(os.environ["NNBOX_INPUT"]), os.environ.get("NNBOX_OUTPUT"))
        code = app(_spread_lists(arguments or ["--help"]), standalone_mode=False, prog_name="nnbox")
    except NnboxError as error:
        complain(Severity.ERROR, str(error))
        return error.exit_code
    except TyperException as error:
        complain(Severity.ERROR, f"{error.format_message()} (see nnbox --help)")
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        complain(Severity.ERROR, "interrupted; the same command continues where it stopped")
        return 130
    except Exception:  # noqa: BLE001 - the last door: a bug must be told as one
        complain(Severity.ERROR, "this is a bug in nnbox; please report it with the lines below")
        sys.stderr.write(traceback.format_exc())
        return _BUG
    return code if isinstance(code, int) else 0
