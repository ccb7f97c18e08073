"""Post-processing tried on the winner's out-of-fold label maps, case by case, with the evidence kept."""

from __future__ import annotations

from dataclasses import dataclass

from nnbox.evaluation.scores import dice_of_case
from nnbox.evaluation.summary import mean_of_defined
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.recipes import PostprocessingRule
from nnbox.records.results import Candidate, PostprocessingStep, PostprocessingTrial
from nnbox.rules.postprocessing import accept_step, single_component_labels
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.pool import run_all
from nnbox.stages.scoring import ScoringTask, reference_and_prediction, scoring_task

Steps = tuple[PostprocessingStep, ...]
Dice = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    scoring: ScoringTask
    accepted: Steps
    step: PostprocessingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """Dice per label of one case before and after a step."""

    case: str
    before: Dice
    after: Dice


def derive_postprocessing(
    context: Context, job: Job, winner: Candidate
) -> tuple[Steps, tuple[PostprocessingTrial, ...]]:
    """Choose the steps by the recipe's rule; return them with the evidence for every step tried.

    2018: on the references alone. 2019: each step is tried on the winner's cross-validation maps, first all foreground
    as one component, then each label on the result so far. Source: 2018 §2.5; own for 2019.
    """
    labels = len(job.plan.labels)
    on_references = job.recipe.postprocessing is PostprocessingRule.SINGLE_COMPONENT_REFERENCES
    chosen = single_component_labels([case.components for case in job.fingerprint.cases])
    wanted = chosen if on_references else tuple(PostprocessingStep(label=label) for label in range(labels + 1))
    if labels == 1 and not on_references:
        # With one label, "all foreground" and "label 1" are the same step.
        wanted = wanted[:1]
    accepted: Steps = ()
    trials = []
    for step in wanted:
        effects = _try(context, job, winner, accepted, step)
        before, after = [item.before for item in effects], [item.after for item in effects]
        if on_references:
            good, reason = True, "every training reference that holds the label has it in one component"
        else:
            good, reason = accept_step(before, after)
        if good:
            accepted = (*accepted, step)
        trials.append(
            PostprocessingTrial(
                step=step,
                accepted=good,
                reason=reason,
                dice_before=_means(before),
                dice_after=_means(after),
                changed_cases={item.case: [item.before, item.after] for item in effects if item.before != item.after},
            )
        )
        context.journal.say("postprocessing", f"  {_name(job, step)}: {'used' if good else 'not used'} ({reason})")
    return accepted, tuple(trials)


def _try(context: Context, job: Job, winner: Candidate, accepted: Steps, step: PostprocessingStep) -> list[_Effect]:
    by_name = {case.name: case for case in job.taken.dataset.cases}
    tasks = [
        _Task(scoring=scoring_task(context, job, winner.members, by_name[item.case]), accepted=accepted, step=step)
        for item in winner.cases
    ]
    tried = run_all(
        _effect,
        tasks,
        workers=context.workers,
        name=lambda task: f"post-processing case {task.scoring.case}",
        tell=lambda sentence: context.journal.warn("worker_lost", sentence),
    )
    return list(tried)


def _effect(task: _Task) -> _Effect:
    reference, prediction, _ = reference_and_prediction(task.scoring)
    labels = len(task.scoring.plan.labels)
    before = apply_postprocessing(prediction, task.accepted)
    after = apply_postprocessing(before, (task.step,))
    return _Effect(
        case=task.scoring.case,
        before=dice_of_case(reference, before, labels),
        after=dice_of_case(reference, after, labels),
    )


def _means(cases: list[Dice]) -> Dice:
    return tuple(mean_of_defined(values) for values in zip(*cases, strict=True))


def _name(job: Job, step: PostprocessingStep) -> str:
    what = "all foreground" if step.label == 0 else f"label {job.plan.labels[step.label - 1].name}"
    return f"largest component of {what}"
