"""Every candidate compared by cross-validation, the best one chosen, its post-processing derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nnbox.evaluation.summary import mean_dice, mean_dice_per_label
from nnbox.network.counting import operations_per_voxel
from nnbox.recipes import PostprocessingRule, Recipe
from nnbox.records.codec import write_record
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Folds, Plan
from nnbox.records.results import (
    Candidate,
    CaseScores,
    CrossValidation,
    PostprocessingStep,
    PostprocessingTrial,
    Selection,
)
from nnbox.rules.postprocessing import accept_step, single_component_labels
from nnbox.rules.selection import choose_candidate, pairs
from nnbox.rules.tolerances import surface_tolerance_mm
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.pool import run_all
from nnbox.stages.scoring import ScoringTask, score, score_candidate, scoring_task


def select(  # noqa: PLR0913
    context: Context,
    taken: TakenIn,
    fingerprint: Fingerprint,
    plan: Plan,
    recipe: Recipe,
    folds: Folds,
    complete: Mapping[str, tuple[int, ...]],
) -> Selection | None:
    """Compare all candidates and derive the post-processing; write both records.

    Args:
        complete: per configuration the folds that are trained and validated.

    Returns:
        The selection, or None when no configuration with full-resolution output is trained in any common fold.
    """
    evidence = cross_validate(context, taken, fingerprint, plan, folds, complete)
    if evidence is None:
        return None
    write_record(context.workspace.crossvalidation, evidence)
    winner, reason = choose_candidate(evidence.candidates)
    steps, trials = _postprocessing(context, taken, fingerprint, plan, recipe, evidence, winner)
    needed = {*winner.members, *(plan.configuration(name).previous for name in winner.members)} - {None}
    after = trials_result(winner, trials)
    selection = Selection(
        task=plan.task,
        candidate=winner.name,
        members=winner.members,
        folds={name: complete[name] for name in sorted(str(name) for name in needed)},
        partial=evidence.partial,
        mean_dice=winner.mean_dice,
        mean_dice_per_label=after,
        reason=reason,
        postprocessing=steps,
        trials=trials,
    )
    write_record(context.workspace.selection, selection)
    return selection
