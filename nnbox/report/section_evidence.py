"""The cross-validation: every configuration and pair on images that its networks did not see."""

from __future__ import annotations

from collections.abc import Sequence

from nnbox.evaluation.summary import mean_of_defined
from nnbox.records.plan import Folds
from nnbox.records.results import Candidate, CrossValidation, LabelScores
from nnbox.report.charts import MOST_DOTS, Axis, Group, distribution
from nnbox.report.document import Block, Details, Drawings, Heading, Paragraph, Parts, Section, Statistic, Table
from nnbox.report.facts import RunFacts
from nnbox.report.numbers import about, count_of, exact, interval, mean, median, whole
from nnbox.report.ranking import fold_values
from nnbox.report.statistics import CONFIDENCE, RESAMPLES, defined

_MOST_OPEN = 8
Place = tuple[Candidate, str]


def places(evidence: CrossValidation) -> list[Place]:
    """Return every evaluated configuration or pair with its place in the file; candidates come first."""
    file = "crossvalidation.json#"
    found = [(item, f"{file}/candidates/{index}") for index, item in enumerate(evidence.candidates)]
    return [*found, *((item, f"{file}/not_candidates/{index}") for index, item in enumerate(evidence.not_candidates))]


def evidence_section(run: RunFacts) -> Section | None:
    """Describe the cross-validation; None where there is none."""
    evidence, plan = run.crossvalidation, run.plan
    if evidence is None or plan is None or not evidence.candidates:
        return None
    found = places(evidence)
    blocks: list[Block] = [
        Paragraph(
            parts=(
                "Each of ",
                whole(len(evidence.candidates[0].cases), "crossvalidation.json#/candidates/0/cases/*", Statistic.COUNT),
                " cases was predicted by networks that had not seen it. Surface Dice counts the share of both surfaces "
                "that lies within ",
                about(evidence.tolerance_mm, "crossvalidation.json#/tolerance_mm", 4),
                " mm of the other; HD95 is the 95th percentile of the distances between the surfaces. Intervals are "
                f"{100 * CONFIDENCE:g} % percentile bootstrap intervals of the mean ({RESAMPLES} resamples of cases, "
                "fixed seed). A case in which neither reference nor prediction has a label does not count for it. "
                "These numbers are before post-processing.",
            )
        ),
        Paragraph(
            parts=(
                f"In the plots a dot is a case (of many, {MOST_DOTS} are drawn, evenly by rank), the box spans the "
                "quartiles, the diamond is the mean with its interval.",
            ),
            quiet=True,
        ),
    ]
    if run.chosen is not None and run.folds is not None:
        winner = evidence.candidates[run.chosen]
        blocks.append(_fold_table(winner, run.folds, f"crossvalidation.json#/candidates/{run.chosen}"))
    parts = [_label(run, found, index) for index in range(len(plan.labels))]
    for part in parts[:_MOST_OPEN]:
        blocks.extend(part)
    if rest := parts[_MOST_OPEN:]:
        folded = tuple(block for part in rest for block in part)
        blocks.append(Details(summary=f"{len(rest)} more labels", blocks=folded))
    return Section(key="evidence", title="Cross-validation", blocks=tuple(blocks))


def _fold_table(winner: Candidate, folds: Folds, place: str) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for fold, (source, values) in fold_values(winner, folds).items():
        at = f"{place}{source}"
        cells = ((count_of(values, at),), (mean(values, at, 3),), interval(values, at, 3), (median(values, at, 3),))
        rows.append(((f"fold {fold}",), *cells))
    columns = ("fold", "cases", "mean Dice", "95 % interval", "median Dice")
    return Table(caption=f"{winner.name} by fold, mean over labels of each case", columns=columns, rows=tuple(rows))


def _label(run: RunFacts, found: Sequence[Place], index: int) -> list[Block]:
    """Show the scores of one label."""
    label, chosen = (run.plan.labels if run.plan is not None else ())[index], run.chosen
    drawings = []
    for key, name, measure, unit, better in (
        ("dice", "Dice", "dice", "Dice", "higher"),
        ("hd95", "HD95", "hd95_mm", "mm", "lower"),
    ):
        groups = [
            Group(name=item.name, values=defined(_scores(item, index, measure)), color=0 if number == chosen else 1)
            for number, (item, _) in enumerate(found)
        ]
        means = ", ".join(f"{group.name} {_said(mean_of_defined(group.values))}" for group in groups)
        alt = f"{name} of {label.name}, one dot per case; {better} is better. Means: {means}."
        drawings.append(distribution(f"{key}-{index}", f"{name} of {label.name}", alt, groups, Axis(label=unit)))
    heading = Heading(text=f"{label.name} ({label.value})")
    return [heading, Drawings(items=tuple(drawings)), _table(label.name, found, index, chosen)]


def _scores(item: Candidate, index: int, measure: str) -> list[float | None]:
    return [measured(case.labels[index], measure) for case in item.cases]


def measured(scores: LabelScores, measure: str) -> float | None:
    """Return a measure by its name."""
    return {"dice": scores.dice, "surface_dice": scores.surface_dice, "hd95_mm": scores.hd95_mm}[measure]


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _table(label: str, found: Sequence[Place], index: int, chosen: int | None) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for item, place in found:
        at = f"{place}/cases/*/labels/{index}"
        dice, surface, distance = (_scores(item, index, name) for name in ("dice", "surface_dice", "hd95_mm"))
        stated = place.startswith("crossvalidation.json#/not_")
        rows.append(
            (
                (f"{item.name} (never chosen)" if stated else item.name,),
                (count_of(dice, f"{at}/dice"),),
                (exact(item.mean_dice_per_label[index], f"{place}/mean_dice_per_label/{index}", 3),),
                interval(dice, f"{at}/dice", 3),
                (median(dice, f"{at}/dice", 3),),
                (mean(surface, f"{at}/surface_dice", 3),),
                (median(surface, f"{at}/surface_dice", 3),),
                (mean(distance, f"{at}/hd95_mm", 2),),
                (median(distance, f"{at}/hd95_mm", 2),),
            )
        )
    columns = (
        *("configuration or pair", "cases", "mean Dice", "95 % interval", "median Dice"),
        *("mean surface Dice", "median surface Dice", "mean HD95, mm", "median HD95, mm"),
    )
    return Table(
        caption=f"Scores of {label}",
        columns=columns,
        rows=tuple(rows),
        chosen=() if chosen is None else (chosen,),
    )
