"""What the run took and what it was made with: time and memory per stage, versions, command, digests, methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnbox.report.charts import bars
from nnbox.report.citations import bibtex
from nnbox.report.document import Block, Code, Details, Drawings, Paragraph, Part, Parts, Section, Statistic, Table
from nnbox.report.facts import RunFacts, Work
from nnbox.report.numbers import duration, exact, lasting, size, whole
from nnbox.rules.methods import methods_text

_SHORTER = (("epochs", "epochs"), ("iterations", "steps per epoch"))
_KINDS = {
    "preprocess": "prepared cases, per store",
    "training": "trained networks",
    "validation": "out-of-fold predictions",
    "prediction": "predicted test images",
}


def run_section(run: RunFacts) -> Section | None:
    """Describe time, memory and origin of a run; None where there is no log."""
    blocks: list[Block] = []
    stages = list(dict.fromkeys(str(event.facts.get("stage")) for event in run.events if event.event == "stage_ends"))
    if stages:
        totals = [(name, sum(_seconds(run, name)), len(_seconds(run, name))) for name in stages]
        drawing = bars(
            "stages",
            "Time of each stage",
            "Time by stage: " + ", ".join(f"{name} {duration(seconds)}" for name, seconds, _ in totals) + ".",
            [(name, seconds, duration(seconds)) for name, seconds, _ in totals],
            "seconds",
        )
        blocks += [_stages(run, stages), Drawings(items=(drawing,))]
    if run.work:
        blocks.append(_work(run.work))
    start = run.last("start")
    if start is not None and start.facts:
        blocks.append(_provenance(start.facts, run))
    if run.digests:
        blocks.append(Details(summary=f"Digests of {len(run.digests)} result files", blocks=(_digests(run),)))
    return Section(key="run", title="Time, memory and provenance", blocks=tuple(blocks)) if blocks else None


def _seconds(run: RunFacts, stage: str) -> list[float]:
    return [float(event.facts["seconds"]) for event in _ends(run, stage)]


def _ends(run: RunFacts, stage: str) -> list[Any]:
    return [event for event in run.events if event.event == "stage_ends" and event.facts.get("stage") == stage]


def _stages(run: RunFacts, stages: list[str]) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for name in stages:
        ends, place = _ends(run, name), f"log.jsonl#stage_ends[stage={name}]/facts"
        cards = [event.facts["peak_card_bytes"] for event in ends if event.facts.get("peak_card_bytes") is not None]
        rows.append(
            (
                (name,),
                (lasting(sum(_seconds(run, name)), f"{place}/seconds", Statistic.SUM),),
                (lasting(sum(event.facts["cpu_seconds"] for event in ends), f"{place}/cpu_seconds", Statistic.SUM),),
                (_most(ends, place, "peak_memory_bytes"),),
                (_most(ends, place, "peak_worker_bytes"),),
                (size(max(cards, default=None), f"{place}/peak_card_bytes", Statistic.MAX),),
                (whole(len(ends), f"{place}/seconds", Statistic.COUNT),),
            )
        )
    columns = ("stage", "time", "processor time", "most memory", "most in one worker", "most on the card", "runs")
    caption = "Stages, over all runs of the command; memory is the most that was held up to the end of the stage"
    return Table(caption=caption, columns=columns, rows=tuple(rows))


def _most(ends: list[Any], place: str, name: str) -> Any:
    return size(max(event.facts[name] for event in ends), f"{place}/{name}", Statistic.MAX)


def _work(work: tuple[Work, ...]) -> Table:
    rows: list[tuple[Parts, ...]] = []
    for item in work:
        place = f"receipts/{item.kind}/**/*.json#/seconds"
        rows.append(
            (
                (_KINDS.get(item.kind, item.kind),),
                (whole(len(item.seconds), place, Statistic.COUNT),),
                (lasting(sum(item.seconds), place, Statistic.SUM),),
                (lasting(max(item.seconds, default=0.0), place, Statistic.MAX),),
            )
        )
    caption = "Work that is kept, from its receipts"
    return Table(caption=caption, columns=("what", "how many", "time in all", "longest"), rows=tuple(rows))


def _provenance(facts: Mapping[str, Any], run: RunFacts) -> Table:
    machine, device = facts.get("machine", {}), facts.get("device", {})
    libraries = ", ".join(f"{name} {version}" for name, version in facts.get("libraries", {}).items())
    pairs = (
        ("nnbox", f"{facts.get('version')}, revision {facts.get('revision') or 'unknown'}"),
        ("command", facts.get("command")),
        ("data", facts.get("root")),
        ("recipe and seed", f"{facts.get('recipe')}, seed {facts.get('seed')}"),
        ("device", f"{device.get('name')} ({device.get('description')})"),
        ("processor", f"{machine.get('processor')}, {machine.get('cpus')} usable"),
        ("system", machine.get("system")),
        ("Python", facts.get("python")),
        ("libraries", libraries),
        ("report made by", run.version),
    )
    rows: list[tuple[Parts, ...]] = [((name,), (str(words),)) for name, words in pairs]
    number = max(index for index, event in enumerate(run.events) if event.event == "start")
    memory = size(machine.get("memory_bytes"), f"log.jsonl#/{number}/facts/machine/memory_bytes")
    rows.insert(6, (("memory",), (memory,)))
    return Table(caption="The last run of the command was made with", columns=("what", "value"), rows=tuple(rows))


def _digests(run: RunFacts) -> Table:
    rows = tuple(((path,), (digest,)) for path, digest in run.digests.items())
    return Table(caption="SHA-256", columns=("file", "digest"), rows=rows)


def _in_this_run(run: RunFacts) -> tuple[Paragraph, ...]:
    """Say what this very run did where the method leaves it open, and what came out."""
    parts: list[Part] = ["This run. "]
    start = run.last("start")
    options = start.facts.get("options", {}) if start is not None else {}
    if options.get("time_budget_seconds") is not None and run.results:
        parts.extend(_layout(run))
    shorter = [f"{options[name]} {words}" for name, words in _SHORTER if options.get(name) is not None]
    if shorter:
        parts.append(f"Instead of the schedule above, trainings had {' and '.join(shorter)}. ")
    if run.results:
        trained = dict.fromkeys(item.configuration for item in run.results)
        folds = {name: sorted(item.fold for item in run.results if item.configuration == name) for name in trained}
        words = "; ".join(f"{name} in folds {', '.join(map(str, found))}" for name, found in folds.items())
        parts.append(f"Trained were {words}. ")
    if run.selection is not None and run.plan is not None:
        parts.append(f"Test images were predicted by {run.selection.candidate}; its cross-validated mean Dice was ")
        for index, label in enumerate(run.plan.labels):
            value = run.selection.mean_dice_per_label[index]
            number = exact(value, f"selection.json#/mean_dice_per_label/{index}", 3)
            parts.extend((", " if index else "", number, f" ({label.name})"))
        parts.append(" after post-processing.")
    return (Paragraph(parts=tuple(parts)),) if len(parts) > 1 else ()


def _layout(run: RunFacts) -> Parts:
    """Say how many epochs and steps the networks of a budgeted run had."""
    place = "training/*/*/result.json#"
    epochs = [item.epochs for item in run.results]
    steps = [item.iterations_per_epoch for item in run.results]
    return (
        "Laid out for the time budget, networks had ",
        *_range(epochs, f"{place}/epochs"),
        " epochs of ",
        *_range(steps, f"{place}/iterations_per_epoch"),
        " steps. ",
    )


def _range(values: list[int], place: str) -> Parts:
    least, most = whole(min(values), place, Statistic.MIN), whole(max(values), place, Statistic.MAX)
    return (least,) if min(values) == max(values) else (least, " to ", most)


def methods_section(run: RunFacts) -> Section | None:
    """Return the methods paragraph with what to cite; None without a plan."""
    if run.plan is None or run.fingerprint is None:
        return None
    text = methods_text(run.plan, run.fingerprint, latex=False)
    paragraphs = tuple(Paragraph(parts=(" ".join(part.split()),)) for part in text.strip().split("\n\n"))
    entries = bibtex(run.plan, run.version, scored=run.crossvalidation is not None)
    latex = methods_text(run.plan, run.fingerprint, latex=True)
    blocks: tuple[Block, ...] = (
        *paragraphs[:-1],
        *_in_this_run(run),
        *paragraphs[-1:],
        Details(summary="The same in LaTeX, without the run's own paragraph", blocks=(Code(name="LaTeX", text=latex),)),
        Details(summary="What to cite (BibTeX)", blocks=(Code(name="BibTeX", text=entries),)),
    )
    return Section(key="methods", title="Methods, for a paper", blocks=blocks)
