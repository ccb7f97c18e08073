"""Cases to look at: the worst, the median and the best one of the chosen candidate, and all of them as a table."""

from __future__ import annotations

from collections.abc import Sequence

from nnbox.records.results import Candidate
from nnbox.report.document import Block, CaseView, Details, Paragraph, Part, Parts, Section, Statistic, Table
from nnbox.report.facts import Pictured, RunFacts
from nnbox.report.images import LEGEND
from nnbox.report.numbers import exact, lasting, whole
from nnbox.report.ranking import FinalDice, final_dice, ranked_cases


def cases_section(run: RunFacts) -> Section | None:
    """Show cases; None where nothing was selected."""
    if run.crossvalidation is None or run.selection is None or run.chosen is None or run.plan is None:
        return None
    finals = final_dice(run.crossvalidation, run.selection, run.chosen)
    ranked = ranked_cases(run.crossvalidation, run.selection, run.chosen)
    place = f"crossvalidation.json#/candidates/{run.chosen}"
    winner = run.crossvalidation.candidates[run.chosen]
    labels = [label.name for label in run.plan.labels]
    blocks: list[Block] = []
    if run.why_no_pictures is not None:
        blocks.append(Paragraph(parts=(f"There are no pictures: {run.why_no_pictures}",)))
    else:
        words = (
            f"Out-of-fold predictions of {winner.name}, post-processed as test images are, in three planes through "
            "the largest disagreement with the reference. Cases are ranked by their mean Dice over labels."
        )
        blocks.append(Paragraph(parts=(words,)))
    blocks.extend(_view(item, winner, finals, labels) for item in run.pictured)
    table = _table(winner, (place, finals), ranked, labels)
    blocks.append(Details(summary=f"All {len(winner.cases)} cases, worst first", blocks=(table,)))
    return Section(key="cases", title="Cases", blocks=tuple(blocks))


Finals = Sequence[Sequence[FinalDice]]


def _view(item: Pictured, winner: Candidate, finals: Finals, labels: Sequence[str]) -> CaseView:
    from nnbox.report.overlays import pictures  # noqa: PLC0415 - scipy.ndimage, slow to import, and often none is drawn

    scores = winner.cases[item.index]
    lead: list[Part] = []
    for name, final in zip(labels, finals[item.index], strict=True):
        lead += [", " if lead else "Dice of ", f"{name} ", exact(final.value, final.source, 3)]
    images = item.images
    low, high = images.window
    lead.append(f". Shown is {images.channel}, from {low:.4g} (black) to {high:.4g} (white).")
    return CaseView(
        title=f"The {item.role} case: {scores.case}", lead=tuple(lead), pairs=pictures(images), legend=LEGEND
    )


def _table(winner: Candidate, where: tuple[str, Finals], ranked: Sequence[int], labels: Sequence[str]) -> Table:
    place, finals = where
    rest = [number for number in range(len(winner.cases)) if number not in ranked]
    rows: list[tuple[Parts, ...]] = []
    for number in (*ranked, *rest):
        case = winner.cases[number]
        cells: list[Parts] = []
        for index, label in enumerate(case.labels):
            at = f"{place}/cases/{number}/labels/{index}"
            final = finals[number][index]
            cells.append((exact(final.value, final.source, 3),))
            cells.append((exact(label.dice, f"{at}/dice", 3),))
            cells.append((exact(label.hd95_mm, f"{at}/hd95_mm", 1),))
            predicted = whole(label.predicted_voxels, f"{at}/predicted_voxels")
            cells.append((predicted, " of ", whole(label.reference_voxels, f"{at}/reference_voxels")))
        rows.append(((case.case,), *cells))
    measures = ("Dice", "Dice before post-processing", "HD95 before it, mm", "voxels predicted of reference")
    columns = ("case", *(f"{name}: {measure}" for name in labels for measure in measures))
    return Table(caption=f"Out-of-fold scores of {winner.name}", columns=columns, rows=tuple(rows))


def tests_section(run: RunFacts) -> Section | None:
    """List the predicted test images; None where there are none."""
    latest: dict[str, int] = {}
    for number, event in enumerate(run.events):
        if event.event == "predicted" and "case" in event.facts:
            latest[str(event.facts["case"])] = number
    if not latest:
        return None
    rows: list[tuple[Parts, ...]] = []
    for case, number in sorted(latest.items()):
        facts, place = run.events[number].facts, f"log.jsonl#/{number}/facts"
        rows.append(
            (
                (case,),
                (whole(facts.get("foreground_voxels"), f"{place}/foreground_voxels"),),
                (lasting(float(facts.get("seconds", 0.0)), f"{place}/seconds"),),
            )
        )
    submission = run.last("submission")
    blocks: tuple[Block, ...] = (
        Paragraph(
            parts=(
                "Images without a reference that the chosen networks predicted: ",
                whole(len(rows), "log.jsonl#predicted/facts/case", Statistic.DISTINCT),
                ". ",
                "There is no result archive." if submission is None else f"The {submission.sentence}.",
            )
        ),
        Details(
            summary="Every test image",
            blocks=(Table(caption="Test images", columns=("case", "foreground voxels", "time"), rows=tuple(rows)),),
        ),
    )
    return Section(key="tests", title="Test images", blocks=blocks)
