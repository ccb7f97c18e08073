"""What a reader should know before believing the numbers. Each flag states its rule. Source: own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Folds, Plan
from nnbox.records.results import Candidate
from nnbox.report.document import Flag, Level, Parts, Statistic
from nnbox.report.facts import RunFacts
from nnbox.report.numbers import exact, whole
from nnbox.report.ranking import fold_values

STANDS_OUT_SD, STANDS_OUT_DICE = 3.0, 0.03
RARE_SHARE, RARE_CASES = 0.2, 5
SMALL_SHARE = 1e-4
SPACING_FACTOR = 3.0
_MOST_NAMES = 6


def quality_flags(run: RunFacts) -> tuple[Flag, ...]:
    """Return every flag of a run, the gravest first."""
    flags: list[Flag] = []
    if run.fingerprint is not None:
        flags += [*label_flags(run.fingerprint), *spacing_flags(run.fingerprint)]
    flags += training_flags(run)
    if run.crossvalidation is not None and run.chosen is not None and run.plan is not None:
        winner = run.crossvalidation.candidates[run.chosen]
        flags += empty_flags(winner, run.plan)
        if run.folds is not None:
            flags += fold_flags(winner, run.folds, f"crossvalidation.json#/candidates/{run.chosen}")
        if run.crossvalidation.partial:
            flags.append(_partial())
    flags += prediction_flags(run)
    order = list(Level)
    return tuple(sorted(flags, key=lambda flag: order.index(flag.level)))


def label_flags(fingerprint: Fingerprint) -> Iterable[Flag]:
    """Flag labels that few cases hold, and labels that are tiny beside the others."""
    cases = fingerprint.cases
    totals = [sum(case.label_voxels[index] for case in cases) for index in range(len(fingerprint.labels))]
    for index, label in enumerate(fingerprint.labels):
        present = sum(case.label_voxels[index] > 0 for case in cases)
        place = f"fingerprint.json#/cases/*/label_voxels/{index}"
        if present < max(RARE_CASES, RARE_SHARE * len(cases)) and present < len(cases):
            parts: Parts = (
                "It is present in ",
                whole(present, place, Statistic.POSITIVE),
                f" of {len(cases)} cases; its scores rest on few images, and folds without it say nothing about it.",
            )
            yield Flag(level=Level.ATTENTION, title=f"{label.name} is rare", parts=parts, section="data")
        share = totals[index] / max(1, *totals)
        if 0 < share < SMALL_SHARE:
            words = (
                f"It has less than one voxel for every {1 / SMALL_SHARE:,.0f} of the most frequent label; a high mean "
                "over labels can hide that it is missed.",
            )
            yield Flag(level=Level.ATTENTION, title=f"{label.name} is very small", parts=words, section="data")


def spacing_flags(fingerprint: Fingerprint) -> Iterable[Flag]:
    """Flag cases whose spacing is far from the others', and the spacing of 1 mm that a missing header leaves."""
    far: dict[str, None] = {}
    for axis in range(3 - fingerprint.dimension, 3):
        middle = statistics.median(case.spacing_mm[axis] for case in fingerprint.cases)
        for case in fingerprint.cases:
            if not 1 / SPACING_FACTOR <= case.spacing_mm[axis] / middle <= SPACING_FACTOR:
                far[case.name] = None
    if far:
        parts: Parts = (
            f"More than {SPACING_FACTOR:g} times above or below the median of an axis: {_names(list(far))}. If a "
            "header is wrong, these cases are resampled to a wrong size.",
        )
        yield Flag(level=Level.ATTENTION, title="Suspicious spacing", parts=parts, section="data")
    unit = [case.name for case in fingerprint.cases if case.spacing_mm == (1.0, 1.0, 1.0)]
    if fingerprint.dimension == 3 and unit and len(unit) < len(fingerprint.cases) / 2:
        parts = (f"Exactly 1 × 1 × 1 mm, as files without a spacing have: {_names(unit)}. The others differ.",)
        yield Flag(level=Level.ATTENTION, title="Spacing that looks like a default", parts=parts, section="data")


def training_flags(run: RunFacts) -> Iterable[Flag]:
    """Flag trainings shorter than the recipe's, and losses that did not fall."""
    start = run.last("start")
    options = start.facts.get("options", {}) if start is not None else {}
    if options.get("time_budget_seconds") is not None and run.progress:
        parts: Parts = (
            "Trainings were laid out for a time budget, and the rate fell by a curve of nnbox's own: the scores say "
            "little about the recipe's schedule.",
        )
        yield Flag(level=Level.ATTENTION, title="A schedule for a time budget", parts=parts, section="training")
    shorter = [name for name in ("epochs", "iterations") if options.get(name) is not None]
    if shorter and run.progress:
        words = " and ".join(f"--{name} {options[name]}" for name in shorter)
        parts = (f"This run was asked for {words}: its scores say little about the full method.",)
        yield Flag(level=Level.ATTENTION, title="A shortened schedule", parts=parts, section="training")
    risen = [f"{item.configuration} fold {item.fold}" for item in run.results if not item.loss_last < item.loss_first]
    risen = [name for name in risen if name in _longer_than_one_epoch(run)]
    if risen:
        parts = (f"The training loss ended no lower than it began: {_names(risen)}.",)
        yield Flag(level=Level.PROBLEM, title="A network did not learn", parts=parts, section="training")


def _longer_than_one_epoch(run: RunFacts) -> set[str]:
    return {f"{item.configuration} fold {item.fold}" for item in run.results if item.epochs > 1}


def empty_flags(winner: Candidate, plan: Plan) -> Iterable[Flag]:
    """Flag labels that the chosen candidate missed altogether, and labels it found where there are none."""
    for index, label in enumerate(plan.labels):
        scores = [(case.case, case.labels[index]) for case in winner.cases]
        missed = [name for name, item in scores if item.reference_voxels and not item.predicted_voxels]
        added = [name for name, item in scores if item.predicted_voxels and not item.reference_voxels]
        for names, title, level in (
            (missed, f"{label.name} is missed altogether in some cases", Level.PROBLEM),
            (added, f"{label.name} is found where there is none", Level.ATTENTION),
        ):
            if names:
                parts: Parts = (f"{len(names)} of {len(scores)} cases: {_names(names)}.",)
                yield Flag(level=level, title=title, parts=parts, section="cases")


def fold_flags(winner: Candidate, folds: Folds, place: str) -> Iterable[Flag]:
    """Flag a fold whose mean Dice is far from that of the others, by its standard error."""
    groups = fold_values(winner, folds)
    for fold, (source, own) in groups.items():
        rest = [value for other, (_, found) in groups.items() if other != fold for value in found]
        if len(own) < 2 or len(rest) < 2:
            continue
        difference = statistics.fmean(own) - statistics.fmean(rest)
        error = math.sqrt(statistics.variance(own) / len(own) + statistics.variance(rest) / len(rest))
        if abs(difference) > max(STANDS_OUT_DICE, STANDS_OUT_SD * error):
            parts: Parts = (
                f"Mean Dice in fold {fold} is ",
                exact(statistics.fmean(own), f"{place}{source}", 3, Statistic.MEAN),
                f", in the others {statistics.fmean(rest):.3f}: more than {STANDS_OUT_SD:g} standard errors and "
                f"{STANDS_OUT_DICE:g} apart. Look for cases of another scanner or protocol, or for a training that "
                "went wrong.",
            )
            yield Flag(level=Level.ATTENTION, title=f"Fold {fold} stands out", parts=parts, section="evidence")


def _partial() -> Flag:
    parts = ("Not every training case was scored, since not every fold was trained for every candidate.",)
    return Flag(level=Level.ATTENTION, title="The cross-validation is partial", parts=parts, section="selection")


def prediction_flags(run: RunFacts) -> Iterable[Flag]:
    """Warn of test images whose latest prediction holds background only."""
    latest = {event.facts.get("case"): event for event in run.events if event.event == "predicted"}
    empty = [str(case) for case, event in latest.items() if event.facts.get("foreground_voxels") == 0]
    if empty:
        parts: Parts = (f"Background only: {_names(empty)}.",)
        yield Flag(level=Level.PROBLEM, title="Empty predictions of test images", parts=parts, section="tests")


def _names(names: Sequence[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
