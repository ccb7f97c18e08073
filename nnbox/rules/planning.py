"""From a fingerprint to a plan: the one function that puts the rules together."""

from __future__ import annotations

import math
from dataclasses import replace

from nnbox.errors import PlanError, UsageError
from nnbox.records.dataset import Choices
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import ConfigurationPlan, Decision, Plan
from nnbox.rules.argument import by, listed
from nnbox.rules.budget import DOCUMENTS_CARD_GB, scale_budget
from nnbox.rules.cascade import HELD_PATCHES, keeps_low_resolution, search_low_resolution
from nnbox.rules.configuration import Configured, Setting, configure_2d, configure_3d, configure_cascade
from nnbox.rules.intensity import decide_normalizations
from nnbox.rules.rulebook import RULEBOOKS, Rulebook
from nnbox.rules.spacing import rounded_shape, shape_at
from nnbox.rules.stage import Stage
from nnbox.rules.typical import TypicalCase, describe_typical_case

Vox = tuple[float, float, float]


def make_plan(
    fingerprint: Fingerprint, *, recipe: str, planning_memory_gb: float = DOCUMENTS_CARD_GB, choices: Choices
) -> Plan:
    """Plan every configuration of a task under a recipe's rules.

    Args:
        fingerprint: of the training cases; without intensities the plan is marked as not trainable.
        recipe: ``2018``, ``2019``, or ``2021`` (planning only).
        planning_memory_gb: scales the planner's budgets, which are those of a 12 GB card.
        choices: the user's decisions about the data, copied into the plan.

    Raises:
        UsageError: unknown recipe, or a memory that is not a positive number.
        PlanError: no cases, or no network fits the planning memory.

    Source: 2018 §2.1, 2019 §2.2
    """
    rulebook = _choose_rulebook(fingerprint, recipe, planning_memory_gb)
    typical = describe_typical_case(fingerprint, coarse_percentile=rulebook.coarse_percentile)
    normalizations, intensity_decisions = decide_normalizations(fingerprint, rulebook.recipe)
    stage = Stage(
        name="3d_fullres",
        spacing_mm=typical.spacing_mm,
        median_vox=typical.rounded_vox,
        cases=len(fingerprint.cases),
        channels=len(fingerprint.channels),
        classes=len(fingerprint.labels) + 1,
        planning_memory_gb=planning_memory_gb,
    )
    configurations, decisions = _configure(stage, typical, fingerprint.dimension, rulebook)
    why_not = explain_untrainable(fingerprint, recipe, trainable=rulebook.recipe.trainable)
    return Plan(
        task=fingerprint.task,
        recipe=recipe,
        trainable=why_not is None,
        why_not_trainable=why_not,
        planning_memory_gb=planning_memory_gb,
        dimension=fingerprint.dimension,
        axis_order=typical.axis_order,
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        normalizations=normalizations,
        configurations=configurations,
        choices=choices,
        decisions=(*typical.decisions, *intensity_decisions, _decide_memory(planning_memory_gb), *decisions),
    )


def _decide_memory(planning_memory_gb: float) -> Decision:
    factor = scale_budget(1.0, planning_memory_gb)
    sentence = (
        f"Planned for the documents' card of {DOCUMENTS_CARD_GB:g} GB, with budgets and cascade trigger as they stand."
    )
    if factor != 1:
        sentence = (
            f"Planned for {planning_memory_gb:g} GB instead of the documents' {DOCUMENTS_CARD_GB:g} GB: all budgets, "
            f"and the typical patch against which a cascade is considered, are multiplied by {factor:.4g}."
        )
    return Decision(
        subject="planning_memory_gb",
        rule=scale_budget.__name__,
        source="own",
        inputs={"documents_card_gb": DOCUMENTS_CARD_GB, "factor": factor},
        outcome=planning_memory_gb,
        sentence=sentence,
    )


def explain_untrainable(fingerprint: Fingerprint, recipe: str, *, trainable: bool) -> str | None:
    """Say why a plan may be printed but not trained, or return None.

    Source: own
    """
    reasons = []
    if not trainable:
        reasons.append(f"the {recipe} rules are for planning only: their training recipe is not part of nnbox")
    if fingerprint.intensities is None:
        reasons.append("geometry only: the fingerprint holds no intensities, so nothing can be normalised")
    return "; ".join(reasons) or None


def _choose_rulebook(fingerprint: Fingerprint, recipe: str, planning_memory_gb: float) -> Rulebook:
    if recipe not in RULEBOOKS:
        raise UsageError(f"there is no recipe {recipe!r}; choose one of {', '.join(RULEBOOKS)}")
    if not (math.isfinite(planning_memory_gb) and planning_memory_gb > 0):
        raise UsageError(f"the planning memory must be a positive number of GB, not {planning_memory_gb}")
    if not fingerprint.cases:
        raise PlanError(
            f"{fingerprint.task}: there is no training case to plan from; expected at least one labelled case"
        )
    if not fingerprint.labels:
        raise PlanError(f"{fingerprint.task}: there is no foreground label to plan for; expected at least one")
    return RULEBOOKS[recipe]


def _configure(
    stage: Stage, typical: TypicalCase, dimension: int, rulebook: Rulebook
) -> tuple[tuple[ConfigurationPlan, ...], tuple[Decision, ...]]:
    """Plan the configurations in the order they are trained: 2D, full resolution, and the two stages of a cascade."""
    low, cascade_decisions = _find_low_resolution(stage, typical, rulebook) if dimension == 3 else (None, ())
    setting = Setting(recipe=rulebook.recipe, cascade=low is not None)
    plane = replace(stage, name="2d")
    configured: list[Configured] = [configure_2d(plane, rulebook.design_2d(plane), setting)]
    if dimension == 3:
        configured.append(configure_3d(stage, rulebook.design_3d(stage), setting))
    if low is not None:
        full = configured[-1][0]
        configured.append(configure_3d(low, rulebook.design_3d(low), setting))
        configured.append(configure_cascade(full, stage, setting))
    plans = tuple(plan for plan, _ in configured)
    return plans, (*cascade_decisions, *(decision for _, decisions in configured for decision in decisions))


def _find_low_resolution(
    stage: Stage, typical: TypicalCase, rulebook: Rulebook
) -> tuple[Stage | None, tuple[Decision, ...]]:
    """Return the stage of the low resolution where a cascade is needed and worth it, with the decisions."""
    rules = rulebook.cascade
    patch_voxels = scale_budget(rules.typical_patch_voxels, stage.planning_memory_gb)
    needed = rules.needed(stage.voxels, patch_voxels)
    limit_voxels = HELD_PATCHES * patch_voxels
    trigger = Decision(
        subject="cascade.needed",
        rule=rules.needed.__name__,
        source=rules.source,
        inputs={"median_voxels": stage.voxels, "typical_patch_voxels": patch_voxels, "patches": HELD_PATCHES},
        outcome=needed,
        sentence=(
            f"The median shape holds {stage.voxels:,} voxels, {_relation(stage.voxels, limit_voxels)} {HELD_PATCHES} "
            f"patches of {patch_voxels:,.0f}: "
            f"one patch sees {'too little' if needed else 'enough'} of the patient, so "
            f"{'a cascade is considered' if needed else 'there is no cascade'}."
        ),
    )
    if not needed:
        return None, (trigger,)

    def limit(spacing_mm: Vox) -> float:
        if not rules.follows_patch:
            return limit_voxels
        return HELD_PATCHES * float(math.prod(rulebook.design_3d(_coarser(stage, typical, spacing_mm)).patch_vox))

    low_mm = search_low_resolution(typical.median_vox, typical.spacing_mm, coarsen=rules.coarsen, limit=limit)
    low = _coarser(stage, typical, low_mm)
    kept = rules.kept_factor is None or keeps_low_resolution(stage.voxels, low.voxels, rules.kept_factor)
    return (low if kept else None), (
        trigger,
        _decide_low(low, stage, rulebook, limit(low_mm)),
        _decide_kept(low, stage, rulebook, kept=kept),
    )


def _relation(voxels: int, limit: float) -> str:
    if voxels == limit:
        return "as many as"
    return "more than" if voxels > limit else "fewer than"


def _coarser(stage: Stage, typical: TypicalCase, spacing_mm: Vox) -> Stage:
    median = rounded_shape(shape_at(typical.median_vox, typical.spacing_mm, spacing_mm))
    return replace(stage, name="3d_lowres", spacing_mm=spacing_mm, median_vox=median)


def _decide_low(low: Stage, stage: Stage, rulebook: Rulebook, limit: float) -> Decision:
    return low.decide(
        "spacing_mm",
        rulebook.cascade.coarsen,
        rulebook.cascade.source,
        {"from_mm": stage.spacing_mm, "limit_voxels": limit},
        low.spacing_mm,
        f"Coarsened step by step until the median shape holds at most {limit:,.0f} voxels: {listed(low.spacing_mm)} "
        f"mm, {by(low.median_vox)} voxels.",
    )


def _decide_kept(low: Stage, stage: Stage, rulebook: Rulebook, *, kept: bool) -> Decision:
    factor = rulebook.cascade.kept_factor
    if factor is None:
        sentence = "The rules keep the low resolution whatever it saves."
    else:
        fewer = "fewer" if kept else "not fewer"
        sentence = (
            f"{factor:g} times the {low.voxels:,} voxels of the low resolution are {fewer} than the {stage.voxels:,} "
            f"at full resolution, so it is {'kept' if kept else 'dropped and there is no cascade'}."
        )
    inputs = {"full_voxels": stage.voxels, "low_voxels": low.voxels, "factor": factor}
    return Decision(
        subject="cascade.kept",
        rule=(rulebook.cascade.needed if factor is None else keeps_low_resolution).__name__,
        source=rulebook.cascade.source,
        inputs=inputs,
        outcome=kept,
        sentence=sentence,
    )
