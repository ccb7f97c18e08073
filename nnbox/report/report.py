"""The whole report of a run, or of a data set alone: sections put together."""

from __future__ import annotations

from datetime import datetime

from nnbox.report.document import Block, Flags, Paragraph, Part, Parts, Report, Section, Statistic, Tile, Tiles
from nnbox.report.facts import DataFacts, RunFacts, State, data_facts
from nnbox.report.flags import quality_flags
from nnbox.report.numbers import exact, lasting, whole
from nnbox.report.section_cases import cases_section, tests_section
from nnbox.report.section_data import data_section
from nnbox.report.section_evidence import evidence_section
from nnbox.report.section_plan import plan_section
from nnbox.report.section_run import methods_section, run_section
from nnbox.report.section_selection import selection_section
from nnbox.report.section_training import training_section

_SAID = {
    State.FINISHED: "The run is finished.",
    State.RUNNING: "The run is under way; this page shows what is there so far.",
    State.UNFINISHED: "The run was left before its end; the same command continues it.",
    State.FAILED: "The run broke off.",
    State.INSPECTED: "Nothing has been trained; this is the data set alone.",
}


def run_report(run: RunFacts, task: str) -> Report:
    """Put the report of a run together, as far as the run got."""
    parts = (
        data_section(data_facts(run.dataset, run.fingerprint)) if run.dataset and run.fingerprint else None,
        plan_section(run.plan) if run.plan is not None else None,
        training_section(run),
        evidence_section(run),
        selection_section(run),
        cases_section(run),
        tests_section(run),
        run_section(run),
        methods_section(run),
    )
    sections = (_glance(run), *(part for part in parts if part is not None))
    return Report(title=task, state=run.state.value, sentence=_sentence(run), made=_made(run), sections=sections)


def data_report(data: DataFacts, made: datetime, version: str) -> Report:
    """Put the report of a data set together that was only looked at."""
    return Report(
        title=data.task,
        state=State.INSPECTED.value,
        sentence=(_SAID[State.INSPECTED],),
        made=f"{made:%Y-%m-%d %H:%M %z} by {version}",
        sections=(data_section(data),),
    )


def _made(run: RunFacts) -> str:
    return f"{run.made:%Y-%m-%d %H:%M %z} by {run.version}"


def _sentence(run: RunFacts) -> Parts:
    parts: list[Part] = [_SAID[run.state]]
    if run.state is State.FAILED and run.remark is not None:
        parts.append(f" {run.remark}")
    if run.selection is not None:
        parts.append(f" Test images are predicted by {run.selection.candidate}.")
    return tuple(parts)


def _glance(run: RunFacts) -> Section:
    """Return the first section: headline numbers and quality flags."""
    blocks: list[Block] = []
    if tiles := _tiles(run):
        blocks.append(Tiles(items=tuple(tiles)))
    flags = quality_flags(run)
    if flags:
        blocks.append(Flags(items=flags))
    else:
        blocks.append(Paragraph(parts=("No quality flag was raised.",)))
    return Section(key="glance", title="At a glance", blocks=tuple(blocks))


def _tiles(run: RunFacts) -> list[Tile]:
    tiles: list[Tile] = []
    if run.selection is not None and run.plan is not None:
        for index, label in enumerate(run.plan.labels[:4]):
            dice = run.selection.mean_dice_per_label[index]
            place = f"selection.json#/mean_dice_per_label/{index}"
            remark = ("cross-validated, after post-processing",)
            tiles.append(Tile(name=f"Dice of {label.name}", parts=(exact(dice, place, 3),), remark=remark))
    if run.fingerprint is not None:
        count = whole(len(run.fingerprint.cases), "fingerprint.json#/cases/*", Statistic.COUNT)
        tiles.append(Tile(name="Training cases", parts=(count,)))
    if run.results:
        networks = whole(len(run.results), "training/*/*/result.json#/fold", Statistic.COUNT)
        tiles.append(Tile(name="Networks trained", parts=(networks,)))
    seconds = [float(event.facts["seconds"]) for event in run.events if event.event == "stage_ends"]
    if seconds:
        time = lasting(sum(seconds), "log.jsonl#stage_ends/facts/seconds", Statistic.SUM)
        tiles.append(Tile(name="Time so far" if run.state is State.RUNNING else "Time", parts=(time,)))
    return tiles
