"""From a fitted patch to a design: batch, kernels and features, each number with the decision that gave it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnbox.records.plan import Decision
from nnbox.rules.budget import LARGEST_SHARE_OF_DATA, SMALLEST_BATCH, cap_batch
from nnbox.rules.stage import Design, Stage
from nnbox.rules.topology import Pooling, choose_features, pad_to_divisible


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A patch that fits its budget, with the numbers on the way there; 2 or 3 axes.

    Attributes:
        spacing_mm, median_vox: of the axes the network has.
        start_vox: first guess, not padded.
        patch_vox, pooling: the result.
        cost: what one patch costs in the budget's count.
        budget: what each of ``budget_batch`` patches may cost in that count.
        budget_batch: the batch the budget stands for.
        allowed_batch: the batch the budget allows.
        half_up: the 5 % limit is rounded half up.
    """

    spacing_mm: tuple[float, ...]
    median_vox: tuple[int, ...]
    start_vox: tuple[float, ...]
    patch_vox: tuple[int, ...]
    pooling: Pooling
    cost: int
    budget: float
    budget_batch: int
    allowed_batch: int
    half_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRules:
    """The rules a fit was made with, to be named in its decisions."""

    start: Callable[..., object]
    pool: Callable[..., object]
    shrink: Callable[..., object]
    kernel: Callable[..., object]
    kernels: Callable[[Fit], tuple[tuple[int, ...], ...]]
    first: int
    cap: int
    source: str

    @property
    def with_release(self) -> str:
        """The source of what the documents leave to the release."""
        return self.source if self.source.startswith("release") else f"{self.source}, release"


def argue(stage: Stage, fit: Fit, rules: FitRules) -> Design:
    """Derive batch, kernels and features of a fitted patch and state every number with its reason.

    Source: 2018 §2.1, 2019 §2.2
    """
    voxels = math.prod(fit.patch_vox)
    batch, limit = cap_batch(
        fit.allowed_batch, voxels, stage_voxels=stage.voxels, cases=stage.cases, half_up=fit.half_up
    )
    kernels = rules.kernels(fit)
    features = choose_features(len(fit.pooling.strides) + 1, first=rules.first, cap=rules.cap)
    decisions = (
        _decide_patch(stage, fit, rules),
        _decide_pools(stage, fit, rules),
        _decide_batch(stage, fit, rules, (batch, limit)),
        stage.decide(
            "topology.features",
            choose_features,
            rules.with_release,
            {"levels": len(features), "first": rules.first, "cap": rules.cap},
            features,
            f"{rules.first} features at full resolution, doubled with every pooling and capped at {rules.cap}, "
            f"give {listed(features)}.",
        ),
        stage.decide(
            "topology.kernels",
            rules.kernel,
            rules.with_release,
            {"spacing_mm": fit.spacing_mm, "strides": fit.pooling.strides},
            kernels,
            _kernel_sentence(kernels),
        ),
    )
    return Design(
        patch_vox=fit.patch_vox,
        pooling=fit.pooling,
        kernels=kernels,
        features=features,
        batch=batch,
        decisions=decisions,
    )


def _decide_patch(stage: Stage, fit: Fit, rules: FitRules) -> Decision:
    untouched = fit.patch_vox == pad_to_divisible(fit.start_vox, fit.pooling.divisors)
    how = "padded up to multiples of 2^pools" if untouched else "then shrunk and padded until it fits"
    sentence = (
        f"From {by(fit.start_vox)} voxels (median shape {by(fit.median_vox)}), {how}: {by(fit.patch_vox)}. "
        f"One patch costs {fit.cost:,}; the budget is {fit.budget:,.0f} for each of {fit.budget_batch} patches."
    )
    inputs = {
        "start_vox": fit.start_vox,
        "median_vox": fit.median_vox,
        "spacing_mm": fit.spacing_mm,
        "cost": fit.cost,
        "budget": fit.budget,
        "budget_patches": fit.budget_batch,
        "planning_memory_gb": stage.planning_memory_gb,
    }
    rule = rules.start if untouched else rules.shrink
    return stage.decide("patch_size", rule, rules.with_release, inputs, fit.patch_vox, sentence)


def _decide_pools(stage: Stage, fit: Fit, rules: FitRules) -> Decision:
    bottleneck = tuple(size // divisor for size, divisor in zip(fit.patch_vox, fit.pooling.divisors, strict=True))
    return stage.decide(
        "num_pool_per_axis",
        rules.pool,
        rules.source,
        {"patch_vox": fit.patch_vox, "spacing_mm": fit.spacing_mm},
        fit.pooling.per_axis,
        f"Poolings per axis {listed(fit.pooling.per_axis)}: the patch of {by(fit.patch_vox)} ends in a bottleneck of "
        f"{by(bottleneck)} voxels.",
    )


def _decide_batch(stage: Stage, fit: Fit, rules: FitRules, outcome: tuple[int, int]) -> Decision:
    batch, limit = outcome
    share = f"{LARGEST_SHARE_OF_DATA:.0%} of the voxels of {stage.cases} cases of {stage.voxels:,} voxels is {limit}"
    if batch == fit.allowed_batch:
        why = f"the budget holds {fit.allowed_batch} patches; {share} patches, which does not bind"
    elif batch == limit:
        why = f"the budget holds {fit.allowed_batch} patches, but {share} patches"
    else:
        why = f"the budget holds {fit.allowed_batch} patches and {share} patches; never fewer than {SMALLEST_BATCH}"
    inputs = {
        "budget_batch": fit.allowed_batch,
        "limit_batch": limit,
        "patch_voxels": math.prod(fit.patch_vox),
        "stage_voxels": stage.voxels,
        "cases": stage.cases,
    }
    return stage.decide("batch_size", cap_batch, rules.source, inputs, batch, f"Batch size {batch}: {why}.")


def _kernel_sentence(kernels: tuple[tuple[int, ...], ...]) -> str:
    coarse = sum(1 in kernel for kernel in kernels)
    if not coarse:
        return "Kernels of 3 voxels on every axis of every level."
    return f"Kernels of 1 voxel along the coarse axes on the first {coarse} levels, of 3 voxels elsewhere."


def by(sizes: Sequence[float]) -> str:
    """Write sizes as ``40 x 56 x 40``, at most one digit after the point.

    Source: own
    """
    return " x ".join(f"{size:.1f}".removesuffix(".0") for size in sizes)


def listed(values: Sequence[float]) -> str:
    """Write values as ``3, 3, 3``, at most four significant digits after the point.

    Source: own
    """
    return ", ".join(f"{value:.4f}".rstrip("0").rstrip(".") for value in values)
