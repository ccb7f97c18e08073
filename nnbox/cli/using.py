"""The verbs that use a trained model, and what belongs to them, as typer commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnbox.cli.options import (
    Device,
    Exclude,
    Folds,
    Input,
    MemoryLimit,
    Nonfinite,
    Precision,
    Seed,
    Workers,
    split_words,
    whole_numbers,
)

_PRESETS = ("smoke", "ct", "2d", "permuted")


def add_using(app: typer.Typer) -> None:
    """Add the verbs to the program."""
    verbs = (
        ("predict", _predict),
        ("evaluate", _evaluate),
        ("check-submission", _check_submission),
        ("handover", _handover),
        ("synthesize", _synthesize),
    )
    for name, verb in verbs:
        app.command(name)(verb)


def _predict(
    root: Input,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Where label maps and archive go.", envvar="NNBOX_OUTPUT")
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="PATH",
            help="Model bundle, folder or archive.",
            show_default="searched for",
            envvar="NNBOX_MODEL",
        ),
    ] = None,
    folds: Folds = None,
    no_mirroring: Annotated[bool, typer.Option("--no-mirroring", help="One pass instead of 8 (2D: 4).")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    memory_limit: MemoryLimit = None,
    workers: Workers = None,
    exclude: Exclude = None,
    replace_nonfinite: Nonfinite = False,
) -> None:
    """Predict images with a trained model, write the archive."""
    from nnbox import verbs
    from nnbox.intake.options import IntakeOptions
    from nnbox.records.precision import parse_precision
    from nnbox.stages.options import PredictOptions

    options = PredictOptions(
        input=root,
        output=output,
        model=model,
        folds=whole_numbers("--folds", folds),
        mirroring=not no_mirroring,
        device=device,
        precision=parse_precision(precision),
        memory_limit_gb=memory_limit,
        workers=workers,
        intake=IntakeOptions(exclude=split_words(exclude) or (), replace_nonfinite=replace_nonfinite),
    )
    verbs.predict(options)


def _evaluate(
    predictions: Annotated[Path, typer.Option("--predictions", metavar="DIR", help="Folder of predicted label maps.")],
    references: Annotated[
        Path, typer.Option("--references", metavar="DIR", help="Folder of reference label maps, same names.")
    ],
    tolerance_mm: Annotated[
        list[str] | None,
        typer.Option(
            "--tolerance-mm",
            metavar="LIST",
            help="Surface-Dice tolerance: one for all, or one per label.",
            show_default="the largest spacing",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every case as JSON instead.")] = False,
) -> None:
    """Score label maps: Dice, surface Dice and HD95."""
    from nnbox import verbs

    verbs.evaluate(predictions, references, tolerances=split_words(tolerance_mm), as_json=as_json)


def _check_submission(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="The result archive.")],
    root: Input,
    exclude: Annotated[
        Path | None,
        typer.Option(
            "--exclude-from-submission",
            metavar="FILE",
            help="JSON list of cases that need not be there.",
            show_default="the Decathlon's eleven",
        ),
    ] = None,
) -> None:
    """Check a result archive against the test images.

    Exit code 7 names case and rule of every defect.
    """
    from nnbox import verbs

    verbs.check_submission(archive, root, exclude)


def _handover(
    model: Annotated[
        Path, typer.Option("--model", metavar="PATH", help="Model bundle, folder or archive; not changed.")
    ],
    input_slugs: Annotated[
        list[str],
        typer.Option("--input-slugs", metavar="LIST", help="The platform's inputs in channel order: ct,pet."),
    ],
    output_slug: Annotated[
        str, typer.Option("--output-slug", metavar="NAME", help="The platform's output: a folder of /output/images.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Where archive and report go.", show_default="handover/ beside the bundle"
        ),
    ] = None,
    renumber_labels: Annotated[
        bool, typer.Option("--renumber-labels", help="Write label values 1, 2, … where the model's have gaps.")
    ] = False,
    memory: Annotated[
        int, typer.Option("--memory", metavar="GB", help="What will be asked of the platform; it keeps 1.")
    ] = 8,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="Rehearse with the plan's median image, however large.")
    ] = False,
) -> None:
    """Make a model ready for grand-challenge.org.

    Its slugs in the bundle, one archive, rehearsed as the platform runs it.
    """
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


def _synthesize(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the data set goes; must not exist.")],
    preset: Annotated[
        str,
        typer.Option(
            "--preset", metavar="NAME", help="Which kind: smoke, ct, 2d or permuted.", autocompletion=lambda: _PRESETS
        ),
    ] = "smoke",
    seed: Seed = 0,
) -> None:
    """Make a small synthetic data set, to try things out."""
    from nnbox import verbs

    verbs.synthesize(folder, preset=preset, seed=seed)
