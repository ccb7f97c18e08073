"""Patch and poolings of the 2021 rules, for planning only, where they differ from 2019."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnbox.errors import PlanError
from nnbox.rules import budget as budgets
from nnbox.rules.argument import Fit, FitRules, argue
from nnbox.rules.patch_2019 import fit_plane_2019, shrink_patch_2019, start_patch_2019, too_little_memory
from nnbox.rules.spacing import rounded_shape
from nnbox.rules.stage import Design, Stage
from nnbox.rules.topology import (
    SPACING_RATIO_2021,
    Pooling,
    kernels_2021,
    pad_to_divisible,
    pool_by_spacing,
)


def pool_2021(size_vox: Sequence[int], spacing_mm: Sequence[float]) -> Pooling:
    """Pool by spacing with ratio 2, sizes halved rounding up; see `pool_by_spacing`.

    Source: release (2021)
    """
    return pool_by_spacing(size_vox, spacing_mm, ratio=SPACING_RATIO_2021, round_up=True)


def shrink_patch_2021(
    patch_vox: Sequence[int],
    median_vox: Sequence[int],
    divisors: Sequence[int],
    derive: Callable[[Sequence[int]], Pooling],
) -> tuple[int, ...] | None:
    """Take 2^pools off the axis with the largest patch / median ratio, the pools being those of a trial patch.

    The trial patch has the axis' whole divisor taken off; there is no half-divisor exception. An axis that would vanish
    is passed over (own).

    Returns:
        The smaller patch, not yet padded; None when no axis can give way.

    Source: release (2021)
    """
    able = [axis for axis, size in enumerate(patch_vox) if size > divisors[axis]]
    if not able:
        return None
    chosen = max(able, key=lambda axis: (patch_vox[axis] / median_vox[axis], axis))
    trial = [size - divisors[axis] if axis == chosen else size for axis, size in enumerate(patch_vox)]
    step = derive(trial).divisors[chosen]
    return tuple(size - step if axis == chosen else size for axis, size in enumerate(patch_vox))


def design_3d_2021(stage: Stage) -> Design:
    """Plan the 3D network of one stage under the 2021 rules.

    Raises:
        PlanError: nothing fits.

    Source: release (2021)
    """
    budget = budgets.scale_budget(
        budgets.PROXY_3D_2019 * budgets.FEATURES_2021 / budgets.FEATURES, stage.planning_memory_gb
    )

    def derive(patch: Sequence[int]) -> Pooling:
        return pool_2021(patch, stage.spacing_mm)

    def cost(patch: Sequence[int], pooling: Pooling) -> int:
        return budgets.memory_proxy(
            patch,
            pooling.strides,
            first=budgets.FEATURES_2021,
            cap=budgets.FEATURE_CAP_3D,
            channels=stage.channels,
            classes=stage.classes,
        )

    start = start_patch_2019(stage.spacing_mm, stage.median_vox)
    pooling = derive(start)
    patch = pad_to_divisible(start, pooling.divisors)
    while cost(patch, pooling) > budget:
        smaller = shrink_patch_2021(patch, stage.median_vox, pooling.divisors, derive)
        if smaller is None:
            raise PlanError(too_little_memory(patch, cost(patch, pooling), budget))
        pooling = derive(smaller)
        patch = pad_to_divisible(smaller, pooling.divisors)
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
    return argue(stage, fit, RULES_3D_2021)


def design_2d_2021(stage: Stage) -> Design:
    """Plan the 2D network under the 2021 pooling rule; the proxy and its budget are those of 2019.

    Raises:
        PlanError: nothing fits.

    Source: release (2021)
    """
    spacing = stage.spacing_mm[1:]
    return fit_plane_2019(stage, lambda patch: pool_2021(patch, spacing), RULES_2D_2021)


def kernels_for_2021(fit: Fit) -> tuple[tuple[int, ...], ...]:
    """Apply `kernels_2021` to a fitted patch.

    Source: release (2021)
    """
    return kernels_2021(fit.pooling, fit.spacing_mm)


RULES_3D_2021 = FitRules(
    start=start_patch_2019,
    pool=pool_2021,
    shrink=shrink_patch_2021,
    kernel=kernels_2021,
    kernels=kernels_for_2021,
    first=budgets.FEATURES_2021,
    cap=budgets.FEATURE_CAP_3D,
    source="release (2021)",
)
RULES_2D_2021 = FitRules(
    start=rounded_shape,
    pool=pool_2021,
    shrink=shrink_patch_2019,
    kernel=kernels_2021,
    kernels=kernels_for_2021,
    first=budgets.FEATURES_2021,
    cap=budgets.FEATURE_CAP_2D_2021,
    source="release (2021)",
)
