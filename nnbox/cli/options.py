"""The options that verbs share, and how their words become values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nnbox.errors import UsageError

LIST_OPTIONS = frozenset(
    {"--folds", "--configurations", "--channels", "--exclude", "--mirror-axes", "--tolerance-mm", "--input-slugs"}
)

Input = Annotated[
    Path, typer.Option("--input", help="Root of the data set, or of several Task… folders.", envvar="NNBOX_INPUT")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Where everything goes. Default: <input>/nnbox.", envvar="NNBOX_OUTPUT"),
]
Recipe = Annotated[str, typer.Option("--recipe", help="Version of the method: 2018 or 2019.")]
Memory = Annotated[
    float | None,
    typer.Option("--planning-memory", help="GB the planner's budgets are scaled to. Default: 12, as the documents."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=0, help="Worker processes. Default: the CPUs this process may use.")
]
Folds = Annotated[list[str] | None, typer.Option("--folds", help="Folds to use, e.g. 0,1. Default: all.")]
Channels = Annotated[list[str] | None, typer.Option("--channels", help="Channel names in file order: CT or T1,T2.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Cases to leave out.")]
MirrorAxes = Annotated[
    list[str] | None, typer.Option("--mirror-axes", help="Axes of the file to mirror: any of z,y,x, or none.")
]
Patients = Annotated[Path | None, typer.Option("--patients", help="JSON {case: patient}: a patient stays in one fold.")]
Splits = Annotated[Path | None, typer.Option("--splits", help="JSON with ready folds: lists of validation cases.")]
TrustGrid = Annotated[
    bool, typer.Option("--trust-image-grid", help="Where a label's header disagrees, believe the image.")
]
Nonfinite = Annotated[bool, typer.Option("--replace-nonfinite", help="Read non-finite voxels as 0.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]


def split_words(values: Sequence[str] | None) -> tuple[str, ...] | None:
    """Allow ``--folds 0,1`` as well as ``--folds 0 1`` and ``--folds 0 --folds 1``."""
    if not values:
        return None
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


def whole_numbers(option: str, values: Sequence[str] | None) -> tuple[int, ...] | None:
    """Read an option's words as whole numbers.

    Raises:
        UsageError: a word is none.
    """
    parts = split_words(values)
    if parts is None:
        return None
    if not all(part.isdecimal() for part in parts):
        raise UsageError(f"{option} {','.join(parts)}: whole numbers are expected, e.g. {option} 0,1")
    return tuple(int(part) for part in parts)
