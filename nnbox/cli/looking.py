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
    typer.Option("--output", help="The run: what train was given as --output.", envvar="NNBOX_OUTPUT"),
]
_Data = Annotated[Path | None, typer.Option("--input", help="The data set, where it is no longer where train read it.")]


def add_looking(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    for name, verb in (("inspect", _inspect), ("status", _status), ("report", _report), ("explain", _explain)):
        app.command(name)(verb)


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
    page: Annotated[Path | None, typer.Option("--report", help="Write the report's data section here (HTML).")] = None,
) -> None:
    """Show every problem, what was detected, what would be trained, and the disk it needs."""
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
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON: a list, one entry per task.")] = False,
) -> None:
    """Show where a run is, from its files alone: also for a run in another process or container."""
    from nnbox import looking

    looking.status(looking.run_folder(output), as_json=as_json)


def _report(output: _Run = None, root: _Data = None) -> None:
    """Write report.html of a run anew, from its files alone; finished or not."""
    from nnbox import looking

    looking.report(looking.run_folder(output), root)


def _explain(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A validation or test case.")],
    output: _Run = None,
    root: _Data = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Where the PNG goes. Default: explained/CASE.png in the run.")
    ] = None,
) -> None:
    """Tell what was done to one case, step by step, and draw it with its labels."""
    from nnbox import looking

    looking.explain(looking.run_folder(output), case, root=root, picture=picture)
