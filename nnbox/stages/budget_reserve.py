"""What a time budget keeps for the time after training: choosing, packaging, predicting, the report. Source: own."""

from __future__ import annotations

from collections.abc import Sequence

from nnbox.limits import available_cpus
from nnbox.network.counting import parameter_count
from nnbox.rules.selection import pairs
from nnbox.stages.context import Context
from nnbox.stages.costs import Costs
from nnbox.stages.job import Job
from nnbox.stages.options import Until

MARGIN = "what nobody foresees"
_MARGIN_SHARE, _MARGIN_RESERVE_SHARE, _MARGIN_SECONDS = 0.01, 0.1, 2.0
_LEAVING_SECONDS = 1.0
_WEIGHT_BYTES = 4
# In the report, once all is done: curves of a configuration; plots of a label; planes and views of the pictured cases.
_DRAWINGS_OF_CONFIGURATION, _DRAWINGS_OF_LABEL, _PICTURED, _PICTURES_OF_CASE = 4, 2, 3, 6


def reserved_seconds(context: Context, job: Job, costs: Costs) -> dict[str, float]:
    """Return the seconds to keep, by what for.

    Everything is counted in measured pieces, made longer where out-of-fold predictions last took longer than was
    measured first. The candidate that is predicted with is not known yet, so that the most expensive one counts.

    Args:
        context: of the run, for its workers.
        job: the planned task.
        costs: as measured.
    """
    kept = {"the report": _report(job, costs) + _LEAVING_SECONDS}
    full = [name for name in job.configurations if job.plan.configuration(name).full_resolution]
    candidates = [*((name,) for name in full), *pairs(full)]
    folds = job.folds.validation if job.options.folds is None else [job.folds.validation[i] for i in job.options.folds]
    if job.options.until is not Until.TRAIN:
        kept["choosing"] = _choosing(context, job, costs, (len(candidates), sum(map(len, folds))))
    if job.options.until not in {Until.TRAIN, Until.SELECT} and candidates:
        ensembles = [_networks(job, members) for members in candidates]
        weights = max(sum(_weight_bytes(job, name) for name in names) for names in ensembles)
        kept["the model"] = len(folds) * weights * costs.ending.weight_byte
        kept["predicting"] = max(_predicting(job, costs, names, len(folds)) for names in ensembles)
    return {name: costs.slowdown * seconds for name, seconds in kept.items()}


def margin_seconds(budget_seconds: float, reserved: float) -> float:
    """Return what is kept besides, since nobody foresees everything: it grows with the budget and with the reserve.

    Args:
        budget_seconds: of the whole run.
        reserved: seconds that are kept for what follows training.
    """
    return _MARGIN_SHARE * budget_seconds + _MARGIN_RESERVE_SHARE * reserved + _MARGIN_SECONDS


def _report(job: Job, costs: Costs) -> float:
    """Return the seconds of the report at the end: more drawings than at the beginning, and pictures of cases."""
    ending, labels = costs.ending, len(job.plan.labels)
    more = _DRAWINGS_OF_CONFIGURATION * len(job.configurations)
    pictures = 0.0
    if job.options.until is not Until.TRAIN:
        more += 1 + _DRAWINGS_OF_LABEL * labels + _PICTURED * _PICTURES_OF_CASE
        pictures = _PICTURED * (ending.loaded + max(ending.beside.values(), default=0.0))
    return ending.report * (1 + more / ending.drawings) + pictures


def _choosing(context: Context, job: Job, costs: Costs, counts: tuple[int, int]) -> float:
    """Return the seconds of scoring so many candidates on so many cases, and of trying post-processing."""
    (candidates, cases), ending = counts, costs.ending
    scored = candidates + sum(1 for name in job.configurations if not job.plan.configuration(name).full_resolution)
    steps = len(job.plan.labels) + 1
    seconds = cases * (scored * (ending.loaded + ending.scored) + steps * (ending.loaded + ending.tried))
    hands = max(1, min(context.workers, available_cpus()))
    return seconds / hands + ending.processes * (scored + steps) + cases * scored * ending.receipt


def _predicting(job: Job, costs: Costs, names: Sequence[str], folds: int) -> float:
    """Return the seconds of predicting the test cases by these configurations, and of their archive."""
    ending, steps = costs.ending, len(job.plan.labels) + 1
    case = sum(folds * ending.asked.get(name, 0.0) + ending.beside.get(name, 0.0) for name in names)
    case += steps * ending.tried + ending.receipt + ending.archived
    return folds * sum(costs.opening.get(name, 0.0) for name in names) + ending.test_cases * case


def _networks(job: Job, members: Sequence[str]) -> tuple[str, ...]:
    """Return the configurations that predict a test case: the members and the first stages that they read."""
    firsts = (job.plan.configuration(name).previous for name in members)
    return tuple(dict.fromkeys((*members, *(name for name in firsts if name is not None))))


def _weight_bytes(job: Job, name: str) -> int:
    return _WEIGHT_BYTES * parameter_count(job.plan.configuration(name).topology)
