"""The verbs that only look, as typer commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnbox.cli.options import (
    Channels,
    Exclude,
    Input,
    Memory,
    MirrorAxes,
    Nonfinite,
    Patients,
    Recipe,
    Splits,
    TrustGrid,
    Workers,
    split_words,
)

_Run = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="The run: what train was given as --output.",
        show_default="nnbox in NNBOX_INPUT",
        envvar="NNBOX_OUTPUT",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(
        "--input", metavar="DIR", help="The data set, where it was moved.", show_default="where train read it"
    ),
]


def add_inspect(app: typer.Typer) -> None:
    """Add the verb that looks at a data set."""
    app.command("inspect")(_inspect)


def add_following(app: typer.Typer) -> None:
    """Add the verbs that look at a run."""
    for name, verb in (("status", _status), ("report", _report), ("explain", _explain)):
        app.command(name)(verb)


def _cases_of(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of a run's cases, for completion on the command line."""
    from nnbox.looking import case_names

    output = context.params.get("output")
    return [name for name in case_names(output) if name.startswith(incomplete)] if output else []


def _inspect(
    root: Input,
    recipe: Recipe = "2019",
    memory: Memory = None,
    workers: Workers = None,
    channels: Channels = None,
    exclude: Exclude = None,
    patients: Patients = None,
    splits: Splits = None,
    mirror_axes: MirrorAxes = None,
    trust_image_grid: TrustGrid = False,
    replace_nonfinite: Nonfinite = False,
    page: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write what was found here, as HTML.")
    ] = None,
) -> None:
    """Show a data set's problems and what would be trained."""
    from nnbox import looking
    from nnbox.intake.options import IntakeOptions

    intake = IntakeOptions(
        channels=split_words(channels),
        exclude=split_words(exclude) or (),
        patients=patients,
        splits=splits,
        mirror_axes=split_words(mirror_axes),
        trust_image_grid=trust_image_grid,
        replace_nonfinite=replace_nonfinite,
    )
    looking.inspect(root, intake, recipe=recipe, planning_memory_gb=memory, workers=workers, page=page)


def _status(
    output: _Run = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list, one entry per task.")] = False,
) -> None:
    """Show where a run is, also one in another process."""
    from nnbox import looking

    looking.status(looking.run_folder(output), as_json=as_json)


def _report(output: _Run = None, root: _Data = None) -> None:
    """Write a run's report.html anew, finished or not."""
    from nnbox import looking

    looking.report(looking.run_folder(output), root)


def _explain(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A validation or test case.", autocompletion=_cases_of)],
    output: _Run = None,
    root: _Data = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Where the PNG goes.", show_default="explained/CASE.png in the run"
        ),
    ] = None,
) -> None:
    """Tell what was done to one case, and draw it."""
    from nnbox import looking

    looking.explain(looking.run_folder(output), case, root=root, picture=picture)
