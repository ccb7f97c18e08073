"""The choice of the model: every candidate against the chosen one, and post-processing with its evidence."""

from __future__ import annotations

from nnbox.records.plan import Plan
from nnbox.records.results import Candidate, CrossValidation, PostprocessingStep, Selection
from nnbox.report.charts import Axis, Group, distribution
from nnbox.report.document import (
    Block,
    Details,
    Drawings,
    Heading,
    Number,
    Paragraph,
    Parts,
    Section,
    Statistic,
    Table,
)
from nnbox.report.facts import RunFacts
from nnbox.report.numbers import UNDEFINED, about, exact, signed, token, whole
from nnbox.report.ranking import case_dice
from nnbox.report.statistics import Paired, compare


def selection_section(run: RunFacts) -> Section | None:
    """Describe the selection; None where nothing was selected."""
    evidence, selection, plan, chosen = run.crossvalidation, run.selection, run.plan, run.chosen
    if evidence is None or selection is None or plan is None or chosen is None:
        return None
    winner = evidence.candidates[chosen]
    partial = " The comparison is partial: not every case was scored." if selection.partial else ""
    blocks: list[Block] = [
        Paragraph(parts=(f"Chosen: {selection.candidate}. Why: {selection.reason}.{partial}",)),
        _candidates(evidence, winner, chosen),
    ]
    others = [item for item in evidence.candidates if item is not winner]
    if others:
        drawing = distribution(
            "paired",
            f"Difference from {winner.name}, case by case",
            f"Mean Dice of each case minus that of {winner.name}; left of zero the chosen one is better.",
            [Group(name=item.name, values=_paired(item, winner).differences, color=1) for item in others],
            Axis(label="difference in Dice", zero_line=True),
        )
        blocks.append(Drawings(items=(drawing,)))
    if evidence.left_out:
        words = "; ".join(f"{name}: {reason}" for name, reason in evidence.left_out.items())
        blocks.append(Paragraph(parts=(f"Not compared in full: {words}.",)))
    blocks.extend(_postprocessing(selection, plan))
    return Section(key="selection", title="Selection and post-processing", blocks=tuple(blocks))


def _paired(item: Candidate, winner: Candidate) -> Paired:
    return compare([case_dice(case) for case in item.cases], [case_dice(case) for case in winner.cases])


def _candidates(evidence: CrossValidation, winner: Candidate, chosen: int) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for index, item in enumerate(evidence.candidates):
        place = f"crossvalidation.json#/candidates/{index}"
        rows.append(
            (
                (item.name,),
                (exact(item.mean_dice, f"{place}/mean_dice", 4),),
                *_difference_cells(item, winner, (place, f"crossvalidation.json#/candidates/{chosen}")),
                (whole(item.networks, f"{place}/networks"),),
                (about(item.operations_per_mm3, f"{place}/operations_per_mm3"),),
            )
        )
    columns = (
        *("candidate", "mean Dice", "mean difference per case", "95 % interval", "better / worse cases"),
        *("networks", "operations per mm³"),
    )
    caption = f"Every candidate, compared with {winner.name} case by case"
    return Table(caption=caption, columns=columns, rows=tuple(rows), chosen=(chosen,))


def _difference_cells(item: Candidate, winner: Candidate, where: tuple[str, str]) -> tuple[Parts, Parts, Parts]:
    if item is winner:
        return (UNDEFINED,), (UNDEFINED,), (UNDEFINED,)
    found = _paired(item, winner)
    at, minus = (f"{place}/cases/*/labels/@/dice" for place in where)

    def cell(value: float | None, statistic: Statistic) -> Number:
        return Number(value=value, shown=signed(value, 4), source=at, statistic=statistic, minus=minus)

    interval: Parts = (UNDEFINED,)
    if found.interval is not None:
        low, high = found.interval
        interval = (cell(low, Statistic.INTERVAL_LOW), " to ", cell(high, Statistic.INTERVAL_HIGH))
    counts = [
        Number(value=count, shown=str(count), source=at, statistic=statistic, minus=minus)
        for count, statistic in ((found.better, Statistic.POSITIVE), (found.worse, Statistic.NEGATIVE))
    ]
    return (cell(found.mean, Statistic.MEAN),), interval, (counts[0], " / ", counts[1])


def step_name(step: PostprocessingStep, plan: Plan) -> str:
    """Return what a post-processing step does, in words."""
    what = "all foreground" if step.label == 0 else plan.labels[step.label - 1].name
    return f"keep the largest component of {what}"


def _postprocessing(selection: Selection, plan: Plan) -> list[Block]:
    names = [label.name for label in plan.labels]
    used = ", then ".join(step_name(step, plan) for step in selection.postprocessing) or "none"
    blocks: list[Block] = [Heading(text="Post-processing"), Paragraph(parts=(f"Used: {used}.",))]
    if not selection.trials:
        return blocks
    rows: list[tuple[Parts, ...]] = []
    for index, trial in enumerate(selection.trials):
        place = f"selection.json#/trials/{index}"
        cells: list[Parts] = []
        for label in range(len(names)):
            before = exact(trial.dice_before[label], f"{place}/dice_before/{label}", 4)
            after = exact(trial.dice_after[label], f"{place}/dice_after/{label}", 4)
            cells.append((before, " → ", after))
        changed = whole(len(trial.changed_cases), f"{place}/changed_cases/*", Statistic.COUNT)
        verdict = "used" if trial.accepted else "not used"
        rows.append(((step_name(trial.step, plan),), (verdict,), *cells, (changed,), (trial.reason,)))
    columns = ("step", "verdict", *(f"{name}, mean Dice" for name in names), "cases it changes", "reason")
    blocks.append(Table(caption="Steps tried in this order on the out-of-fold maps", columns=columns, rows=tuple(rows)))
    for index, trial in enumerate(selection.trials):
        if trial.changed_cases:
            table = _changes(selection, index, names)
            title = f"The {len(trial.changed_cases)} cases that “{step_name(trial.step, plan)}” changes"
            blocks.append(Details(summary=title, blocks=(table,)))
    return blocks


def _changes(selection: Selection, index: int, names: list[str]) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for case, (before, after) in selection.trials[index].changed_cases.items():
        place = f"selection.json#/trials/{index}/changed_cases/{token(case)}"
        cells = (
            (exact(before[n], f"{place}/0/{n}", 4), " → ", exact(after[n], f"{place}/1/{n}", 4))
            for n in range(len(names))
        )
        rows.append(((case,), *cells))
    return Table(caption="Dice before and after", columns=("case", *names), rows=tuple(rows))
