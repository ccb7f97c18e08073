"""Patch, poolings and batch of the 2019 rules: as large a patch as a memory budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnbox.errors import PlanError
from nnbox.rules import budget as budgets
from nnbox.rules.argument import Fit, FitRules, argue
from nnbox.rules.spacing import rounded_shape
from nnbox.rules.stage import Design, Stage
from nnbox.rules.topology import (
    MINIMUM_EDGE_VOX,
    SPACING_RATIO_2D_2019,
    Pooling,
    kernels_2019,
    late_pooling,
    pad_to_divisible,
    pool_by_spacing,
    pools_2019,
)

START_EDGE_VOX = 512


def start_patch_2019(spacing_mm: Sequence[float], median_vox: Sequence[int]) -> tuple[int, ...]:
    """Return the first guess: isotropic in mm, 512 voxels on the smallest axis, clipped to the median shape.

    Source: 2019 §2.2 (large patches are favoured), release (the numbers)
    """
    coarsest = max(spacing_mm)
    edges = (round(START_EDGE_VOX * coarsest / spacing) for spacing in spacing_mm)
    return tuple(min(edge, size) for edge, size in zip(edges, median_vox, strict=True))


def shrink_patch_2019(
    patch_vox: Sequence[int], median_vox: Sequence[int], divisors: Sequence[int]
) -> tuple[int, ...] | None:
    """Take one step off the axis with the largest patch / median ratio, the last one on ties.

    The step is the axis' divisor, or half of it (at least 1 voxel) where patch / divisor is 4 or less. An axis that
    would vanish is passed over (own).

    Returns:
        The smaller patch, not yet padded; None when no axis can give way.

    Source: release
    """
    steps = [
        max(1, divisor // 2) if patch <= MINIMUM_EDGE_VOX * divisor else divisor
        for patch, divisor in zip(patch_vox, divisors, strict=True)
    ]
    able = [axis for axis, step in enumerate(steps) if patch_vox[axis] > step]
    if not able:
        return None
    chosen = max(able, key=lambda axis: (patch_vox[axis] / median_vox[axis], axis))
    return tuple(patch - steps[axis] if axis == chosen else patch for axis, patch in enumerate(patch_vox))


def fit_patch_2019(
    start_vox: Sequence[int],
    median_vox: Sequence[int],
    *,
    derive: Callable[[Sequence[int]], Pooling],
    cost: Callable[[Sequence[int], Pooling], int],
    limit: float,
) -> tuple[tuple[int, ...], Pooling]:
    """Derive the poolings, pad up, and shrink until the memory proxy is within the limit.

    Args:
        start_vox: first guess.
        median_vox: median shape, for the ratios.
        derive: poolings of a patch.
        cost: memory proxy of a padded patch.
        limit: the budget for one patch.

    Raises:
        PlanError: not even the smallest patch fits.

    Source: release
    """
    pooling = derive(start_vox)
    patch = pad_to_divisible(start_vox, pooling.divisors)
    while cost(patch, pooling) > limit:
        smaller = shrink_patch_2019(patch, median_vox, pooling.divisors)
        if smaller is None:
            raise PlanError(too_little_memory(patch, cost(patch, pooling), limit))
        pooling = derive(smaller)
        patch = pad_to_divisible(smaller, pooling.divisors)
    return patch, pooling


def too_little_memory(patch_vox: Sequence[int], cost: float, limit: float) -> str:
    """Word the failure of a budget that fits nothing.

    Source: own
    """
    shape = " x ".join(str(size) for size in patch_vox)
    return (
        f"no network fits the planning memory: even a patch of {shape} voxels costs {cost:,.0f} in the planner's "
        f"count, and the budget is {limit:,.0f}. Give more with --planning-memory (the documents' card has 12 GB)"
    )


def design_3d_2019(stage: Stage) -> Design:
    """Plan the 3D network of one stage: largest patch within the budget, then the batch.

    Raises:
        PlanError: nothing fits.

    Source: 2019 §2.2, release
    """
    budget = budgets.scale_budget(budgets.PROXY_3D_2019, stage.planning_memory_gb)

    def cost(patch: Sequence[int], pooling: Pooling) -> int:
        return network_cost_2019(stage, patch, pooling, cap=budgets.FEATURE_CAP_3D)

    start = start_patch_2019(stage.spacing_mm, stage.median_vox)
    patch, pooling = fit_patch_2019(start, stage.median_vox, derive=pool_3d_2019, cost=cost, limit=budget)
    proxy = cost(patch, pooling)
    fit = Fit(
        spacing_mm=stage.spacing_mm,
        median_vox=stage.median_vox,
        start_vox=start,
        patch_vox=patch,
        pooling=pooling,
        cost=proxy,
        budget=budget,
        budget_batch=budgets.BATCH_3D,
        allowed_batch=math.floor(budgets.BATCH_3D * max(budget / proxy, 1)),
        half_up=False,
    )
    return argue(stage, fit, RULES_3D_2019)


def pool_3d_2019(patch_vox: Sequence[int]) -> Pooling:
    """Pool each axis while it stays at 4 voxels or more; axes with fewer pools start later.

    Source: 2019 §2.2, release
    """
    return late_pooling([pools_2019(size) for size in patch_vox])


def design_2d_2019(stage: Stage) -> Design:
    """Plan the 2D network: the median plane, and as large a batch as the budget holds.

    A plane too large for a batch of 2 is shrunk as the 3D patch is (own).

    Raises:
        PlanError: nothing fits.

    Source: 2019 §2.2, release, own
    """
    spacing = stage.spacing_mm[1:]

    def derive(patch: Sequence[int]) -> Pooling:
        return pool_by_spacing(patch, spacing, ratio=SPACING_RATIO_2D_2019, round_up=False)

    return fit_plane_2019(stage, derive, RULES_2D_2019)


def fit_plane_2019(stage: Stage, derive: Callable[[Sequence[int]], Pooling], rules: FitRules) -> Design:
    """Fit the median plane into the 2D budget under a pooling rule.

    Source: release, own (shrinking)
    """
    budget = budgets.scale_budget(budgets.PROXY_2D_2019, stage.planning_memory_gb)
    plane = stage.median_vox[1:]

    def cost(patch: Sequence[int], pooling: Pooling) -> int:
        return network_cost_2019(stage, patch, pooling, cap=budgets.FEATURE_CAP_2D)

    limit = budget * budgets.BATCH_2D_2019 / budgets.SMALLEST_BATCH
    patch, pooling = fit_patch_2019(plane, plane, derive=derive, cost=cost, limit=limit)
    proxy = cost(patch, pooling)
    fit = Fit(
        spacing_mm=stage.spacing_mm[1:],
        median_vox=plane,
        start_vox=plane,
        patch_vox=patch,
        pooling=pooling,
        cost=proxy,
        budget=budget,
        budget_batch=budgets.BATCH_2D_2019,
        allowed_batch=math.floor(budgets.BATCH_2D_2019 * budget / proxy),
        half_up=False,
    )
    return argue(stage, fit, rules)


def network_cost_2019(stage: Stage, patch_vox: Sequence[int], pooling: Pooling, *, cap: int) -> int:
    """Return the memory proxy of the stage's network for one patch; see `memory_proxy`.

    Source: release
    """
    return budgets.memory_proxy(
        patch_vox, pooling.strides, first=budgets.FEATURES, cap=cap, channels=stage.channels, classes=stage.classes
    )


def kernels_for_2019(fit: Fit) -> tuple[tuple[int, ...], ...]:
    """Apply `kernels_2019` to a fitted patch.

    Source: release
    """
    return kernels_2019(fit.pooling, fit.spacing_mm)


RULES_3D_2019 = FitRules(
    start=start_patch_2019,
    pool=pool_3d_2019,
    shrink=shrink_patch_2019,
    kernel=kernels_2019,
    kernels=kernels_for_2019,
    first=budgets.FEATURES,
    cap=budgets.FEATURE_CAP_3D,
    source="2019 §2.2",
)
RULES_2D_2019 = FitRules(
    start=rounded_shape,
    pool=pool_by_spacing,
    shrink=shrink_patch_2019,
    kernel=kernels_2019,
    kernels=kernels_for_2019,
    first=budgets.FEATURES,
    cap=budgets.FEATURE_CAP_2D,
    source="2019 §2.2",
)
