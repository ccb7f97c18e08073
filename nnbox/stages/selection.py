"""Every candidate compared by cross-validation, the best one chosen, its post-processing derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnbox.evaluation.summary import mean_dice, mean_dice_per_label
from nnbox.network.counting import operations_per_voxel
from nnbox.records.codec import write_record
from nnbox.records.dataset import Case
from nnbox.records.plan import Plan
from nnbox.records.results import Candidate, CrossValidation, Selection
from nnbox.rules.selection import choose_candidate, pairs
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.postprocessing import derive_postprocessing
from nnbox.stages.scoring import score_candidate, tolerance_of

Complete = Mapping[str, tuple[int, ...]]


def select(context: Context, job: Job, complete: Complete) -> Selection | None:
    """Compare all candidates, choose one, derive its post-processing; write both records.

    Args:
        context: of the run.
        job: the planned task.
        complete: per configuration the folds that are trained and validated.

    Returns:
        The selection, or None when no configuration with full-resolution output is trained in any fold.
    """
    evidence = cross_validate(context, job, complete)
    if evidence is None:
        context.journal.warn(
            "no_candidate", "no configuration with full-resolution output is trained: nothing to choose"
        )
        return None
    write_record(context.workspace.crossvalidation, evidence)
    winner, reason = choose_candidate(evidence.candidates)
    steps, trials = derive_postprocessing(context, job, winner)
    after = next((trial.dice_after for trial in reversed(trials) if trial.accepted), winner.mean_dice_per_label)
    selection = Selection(
        task=job.plan.task,
        candidate=winner.name,
        members=winner.members,
        folds={name: complete[name] for name in _needed(job.plan, winner.members)},
        partial=evidence.partial,
        mean_dice=winner.mean_dice,
        mean_dice_per_label=after,
        reason=reason,
        postprocessing=steps,
        trials=trials,
    )
    write_record(context.workspace.selection, selection)
    flag = " (partial: not all cases were compared)" if evidence.partial else ""
    context.journal.say("selection", f"selection{flag}: {winner.name}: {reason}")
    return selection


def cross_validate(context: Context, job: Job, complete: Complete) -> CrossValidation | None:
    """Score every candidate on the cases that all of them have. Source: 2018 §2.6, 2019 §2.3."""
    plan, folds = job.plan, job.folds
    full = tuple(item.name for item in plan.configurations if item.full_resolution and complete.get(item.name))
    # A configuration without a fold in common with the others cannot be compared; the fuller ones are.
    common, compared = _common_folds(full, complete)
    if not common:
        return None
    names = {case for fold in common for case in folds.validation[fold]}
    cases = [case for case in job.taken.dataset.cases if case.name in names]
    others = tuple(
        item.name
        for item in plan.configurations
        if not item.full_resolution and set(common) <= set(complete.get(item.name, ()))
    )
    tolerance_mm, origin = tolerance_of(job)
    context.journal.say("scoring", f"scoring {len(cases)} cases; surface-Dice tolerance {tolerance_mm:g} mm ({origin})")
    members = [*((name,) for name in compared), *pairs(compared)]
    return CrossValidation(
        task=plan.task,
        tolerance_mm=tolerance_mm,
        folds_complete=common,
        partial=len(cases) < len(job.taken.dataset.cases),
        left_out=_left_out(plan, complete, compared, len(folds.validation)),
        candidates=tuple(_candidate(context, job, complete, group, cases) for group in members),
        not_candidates=tuple(_candidate(context, job, complete, (name,), cases) for name in others),
    )


def _common_folds(names: Sequence[str], complete: Complete) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the folds all compared configurations have, and which are compared: the fuller ones come first."""
    common: set[int] = set()
    compared: list[str] = []
    for name in sorted(names, key=lambda item: -len(complete[item])):
        shared = set(complete[name]) & common if compared else set(complete[name])
        if shared:
            common = shared
            compared.append(name)
    return tuple(sorted(common)), tuple(name for name in names if name in compared)


def _left_out(plan: Plan, complete: Complete, compared: Sequence[str], folds: int) -> dict[str, str]:
    reasons = {}
    for item in plan.configurations:
        done = complete.get(item.name, ())
        if item.full_resolution and item.name not in compared:
            reasons[item.name] = "not trained" if not done else f"has only folds {done}, none of them in common"
        elif len(done) < folds:
            reasons[item.name] = f"trained in {len(done)} of {folds} folds: {done}"
    return reasons


def _candidate(
    context: Context, job: Job, complete: Complete, members: Sequence[str], cases: Sequence[Case]
) -> Candidate:
    scores = score_candidate(context, job, members, cases)
    needed = _needed(job.plan, members)
    candidate = Candidate(
        name="+".join(members),
        members=tuple(members),
        cases=scores,
        mean_dice_per_label=mean_dice_per_label(scores),
        mean_dice=mean_dice(scores),
        networks=sum(len(complete[name]) for name in needed),
        operations_per_mm3=sum(_operations_per_mm3(job.plan, name) * len(complete[name]) for name in needed),
    )
    dice = ", ".join("-" if value is None else f"{value:.4f}" for value in candidate.mean_dice_per_label)
    context.journal.say("candidate", f"  {candidate.name}: mean Dice per label {dice}")
    return candidate


def _needed(plan: Plan, members: Sequence[str]) -> tuple[str, ...]:
    """Return the configurations a prediction runs: the members and the first stages they read."""
    names = {*members, *(plan.configuration(name).previous for name in members)}
    return tuple(item.name for item in plan.configurations if item.name in names)


def _operations_per_mm3(plan: Plan, name: str) -> float:
    configuration = plan.configuration(name)
    spacing_mm = configuration.spacing_mm
    if configuration.topology.dimension == 2:
        # A slice stands for its thickness; data that is 2D throughout is counted per mm².
        volumes = [item.spacing_mm[0] for item in plan.configurations if len(item.spacing_mm) == 3]
        spacing_mm = (max(volumes, default=1.0), *spacing_mm)
    volume_mm3 = 1.0
    for length in spacing_mm:
        volume_mm3 *= length
    return operations_per_voxel(configuration.topology) / volume_mm3
