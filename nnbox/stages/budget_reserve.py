"""What a time budget keeps for the time after training: choosing, packaging, predicting, the report. Source: own."""

from __future__ import annotations

from collections.abc import Sequence

from nnbox.limits import available_cpus
from nnbox.network.counting import parameter_count
from nnbox.rules.selection import pairs
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.options import Until
from nnbox.stages.probing import Costs

_PROCESS_SECONDS = 1.0
_PACK_BYTES_PER_SECOND = 25e6
_REPORT_SECONDS, _REPORT_CASE_SECONDS = 8.0, 0.05
_WEIGHT_BYTES = 4


def reserved_seconds(context: Context, job: Job, costs: Costs) -> dict[str, float]:
    """Return the seconds to keep, by what for.

    Choosing and predicting are counted in measured cases; the candidate that is predicted with is not known yet, so
    that the most expensive one counts. Starting processes, packing weights and the report are allowed for with
    constants.

    Args:
        context: of the run, for its workers.
        job: the planned task.
        costs: as measured.
    """
    kept = {"the report": _REPORT_SECONDS + _REPORT_CASE_SECONDS * len(job.taken.dataset.cases)}
    if job.options.until is Until.TRAIN:
        return kept
    full = [name for name in job.configurations if job.plan.configuration(name).full_resolution]
    candidates = [*((name,) for name in full), *pairs(full)]
    folds = job.folds.validation if job.options.folds is None else [job.folds.validation[i] for i in job.options.folds]
    kept["choosing"] = _choosing(context, job, costs, (len(candidates), sum(map(len, folds))))
    if job.options.until is Until.SELECT or not candidates:
        return kept
    ensembles = [_networks(job, members) for members in candidates]
    weights = max(sum(_weight_bytes(job, name) for name in names) for names in ensembles)
    # Written once, packed once.
    kept["the model"] = 2 * len(folds) * weights / _PACK_BYTES_PER_SECOND
    slowest = max(sum(costs.case.get(name, 0.0) for name in names) for names in ensembles)
    kept["predicting"] = len(job.taken.dataset.test_cases) * (len(folds) * slowest + costs.load)
    return kept


def _choosing(context: Context, job: Job, costs: Costs, counts: tuple[int, int]) -> float:
    """Return the seconds of scoring so many candidates on so many cases, and of trying post-processing."""
    candidates, cases = counts
    scored = candidates + sum(1 for name in job.configurations if not job.plan.configuration(name).full_resolution)
    steps = len(job.plan.labels) + 1
    seconds = cases * (scored * (costs.load + costs.score) + 2 * steps * costs.load)
    hands = max(1, min(context.workers, available_cpus()))
    return seconds / hands + _PROCESS_SECONDS * (scored + steps)


def _networks(job: Job, members: Sequence[str]) -> tuple[str, ...]:
    """Return the configurations that predict a test case: the members and the first stages that they read."""
    firsts = (job.plan.configuration(name).previous for name in members)
    return tuple(dict.fromkeys((*members, *(name for name in firsts if name is not None))))


def _weight_bytes(job: Job, name: str) -> int:
    return _WEIGHT_BYTES * parameter_count(job.plan.configuration(name).topology)
