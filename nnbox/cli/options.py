"""The options that verbs share, and how their words become values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nnbox.errors import UsageError

LIST_OPTIONS = frozenset(
    {
        "--folds",
        "--configurations",
        "--channels",
        "--exclude",
        "--mirror-axes",
        "--tolerance-mm",
        "--input-slugs",
        "--without",
    }
)

RECIPES = ("2018", "2019")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bf16", "fp16")
AUGMENTATIONS = ("auto", "cpu", "gpu")

Input = Annotated[
    Path,
    typer.Option(
        "--input", metavar="DIR", help="Root of the data set, or of several Task… folders.", envvar="NNBOX_INPUT"
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="Where everything goes.",
        show_default="<input>/nnbox",
        envvar="NNBOX_OUTPUT",
    ),
]
Recipe = Annotated[
    str,
    typer.Option(
        "--recipe", metavar="NAME", help="Version of the method: 2018 or 2019.", autocompletion=lambda: RECIPES
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--planning-memory",
        metavar="GB",
        help="Card memory that the plan is made for.",
        show_default="12, as the papers",
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.", autocompletion=lambda: DEVICES),
]
TrainingDevice = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda (all cards), cuda:N or cuda:0,cuda:1.",
        autocompletion=lambda: DEVICES,
    ),
]
Parallel = Annotated[
    str,
    typer.Option("--parallel", metavar="N", help="Networks trained at once on each device, or auto: tried out."),
]
MemoryLimit = Annotated[
    float | None,
    typer.Option(
        "--memory-limit",
        metavar="GB",
        help="Memory that prediction may hold.",
        show_default="90% of the container's",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=0, metavar="N", help="Worker processes.", show_default="as CPUs, memory and limits allow"
    ),
]
Folds = Annotated[
    list[str] | None, typer.Option("--folds", metavar="LIST", help="Folds to use, e.g. 0,1.", show_default="all")
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channels",
        metavar="LIST",
        help="Channel names in file order: CT or T1,T2.",
        show_default="as the data set says",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="LIST", help="Cases to leave out.", show_default="none"),
]
MirrorAxes = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror-axes", metavar="LIST", help="Axes that may be mirrored: of z,y,x, or none.", show_default="all"
    ),
]
Patients = Annotated[
    Path | None,
    typer.Option(
        "--patients",
        metavar="FILE",
        help="JSON {case: patient}: a patient stays in one fold.",
        show_default="patients.json of the data set",
    ),
]
Splits = Annotated[
    Path | None,
    typer.Option(
        "--splits", metavar="FILE", help="JSON with ready folds: lists of validation cases.", show_default="5 folds"
    ),
]
TrustGrid = Annotated[
    bool, typer.Option("--trust-image-grid", help="Where a label's header disagrees, believe the image.")
]
Nonfinite = Annotated[bool, typer.Option("--replace-nonfinite", help="Read non-finite voxels as 0.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="auto, float32, bf16 or fp16; auto is float32 on a CPU.",
        autocompletion=lambda: PRECISIONS,
    ),
]
Augmentation = Annotated[
    str,
    typer.Option(
        "--augmentation",
        metavar="WHERE",
        help="auto, cpu or gpu (torch on the device); auto: as the device.",
        autocompletion=lambda: AUGMENTATIONS,
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="LIST",
        help="Speed-ups to switch off: all, or of fused-norm, fused-adam, kernels, channels-last, wide, graphs, "
        "resident.",
        show_default="none",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of every random stream.")]


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
