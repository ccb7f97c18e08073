"""The result of a run as rows and a sentence."""

from __future__ import annotations

from pathlib import Path

from nnbox.evaluation.summary import summarize
from nnbox.records.codec import read_record
from nnbox.records.plan import Plan
from nnbox.records.results import CrossValidation, Selection


def result_rows(path: Path, plan: Plan) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of the table of candidates: Dice, surface Dice and HD95 per label."""
    evidence = read_record(path, CrossValidation)
    names = [label.name for label in plan.labels]
    columns = ["candidate", "mean Dice"]
    columns += [f"{name} {measure}" for name in names for measure in ("Dice", "surface", "HD95 mm")]
    rows = []
    for candidate in (*evidence.candidates, *evidence.not_candidates):
        mark = "" if candidate in evidence.candidates else " (no candidate)"
        row = [candidate.name + mark, _number(candidate.mean_dice)]
        for label in summarize(candidate.cases):
            row += [_number(label.dice), _number(label.surface_dice), _number(label.hd95_mm, digits=2)]
        rows.append(row)
    return columns, rows


def selection_sentence(selection: Selection, plan: Plan) -> str:
    """Say what was chosen and what is done to its maps."""
    names = {0: "all foreground", **{index: label.name for index, label in enumerate(plan.labels, start=1)}}
    steps = ", then ".join(
        f"only the largest component of {names[step.label]} is kept" for step in selection.postprocessing
    )
    folds = sum(len(numbers) for numbers in selection.folds.values())
    dice = ", ".join(
        f"{label.name} {_number(value)}"
        for label, value in zip(plan.labels, selection.mean_dice_per_label, strict=True)
    )
    partial = "; partial: not every case was compared" if selection.partial else ""
    return (
        f"selected: {selection.candidate} ({folds} networks); cross-validated Dice {dice}; "
        f"post-processing: {steps or 'none'}{partial}"
    )


def _number(value: float | None, *, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
