"""Patch, poolings and batch of the 2018 rules: voxel budgets around a 128³ patch and a 256² plane."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnbox.errors import PlanError
from nnbox.rules import budget as budgets
from nnbox.rules.argument import Fit, FitRules, argue
from nnbox.rules.patch_2019 import too_little_memory
from nnbox.rules.spacing import rounded_shape
from nnbox.rules.stage import Design, Stage
from nnbox.rules.topology import (
    MINIMUM_EDGE_VOX,
    POOL_CAP_2D_2018,
    POOL_CAP_3D_2018,
    kernels_2018,
    late_pooling,
    pad_to_divisible,
    pools_2018,
)


def start_patch_2018(spacing_mm: Sequence[float], median_vox: Sequence[int], edge_vox: float) -> tuple[float, ...]:
    """Spread an edge of 128 voxels over the axes in proportion to their length in mm, clipped to the median shape.

    Source: 2018 §2.1 (aspect ratio of the median), RULES.md §4 (in mm; the literal sentence gives 64 of 72 cells)
    """
    lengths = [size * spacing for size, spacing in zip(median_vox, spacing_mm, strict=True)]
    typical = math.prod(lengths) ** (1 / len(lengths))
    return tuple(min(edge_vox * length / typical, size) for length, size in zip(lengths, median_vox, strict=True))


def round_patch_2018(start_vox: Sequence[float], median_vox: Sequence[int], divisors: Sequence[int]) -> tuple[int, ...]:
    """Pad the axes that were clipped to the median up; bring the others to the nearest multiple of 2^pools.

    Source: RULES.md §4, from the cells of Table 1
    """
    padded = pad_to_divisible(start_vox, divisors)
    axes = zip(start_vox, median_vox, padded, divisors, strict=True)
    return tuple(up if start >= size else max(1, round(start / divisor)) * divisor for start, size, up, divisor in axes)


def shrink_patch_2018(patch_vox: Sequence[int], pools: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Take 2^pools off the longest axis, the last one on ties.

    Where that would leave a bottleneck below 4 voxels, which only a planning memory below 12 GB can bring about, the
    axis also gives up one pooling (own).

    Returns:
        The smaller patch and its poolings; None when no axis can give way.

    Source: 2018 §2.1, RULES.md §4
    """
    longest = max(range(len(patch_vox)), key=lambda axis: (patch_vox[axis], axis))
    size, kept = patch_vox[longest] - 2 ** pools[longest], pools[longest]
    if size < 1:
        return None
    if kept and size < MINIMUM_EDGE_VOX * 2**kept:
        kept -= 1
    patch = tuple(size if axis == longest else old for axis, old in enumerate(patch_vox))
    return patch, tuple(kept if axis == longest else old for axis, old in enumerate(pools))


def fit_patch_2018(
    patch_vox: tuple[int, ...], pools: tuple[int, ...], limit: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shrink a patch until it holds at most ``limit`` voxels.

    Raises:
        PlanError: not even one voxel fits.

    Source: 2018 §2.1
    """
    while math.prod(patch_vox) > limit:
        smaller = shrink_patch_2018(patch_vox, pools)
        if smaller is None:
            raise PlanError(too_little_memory(patch_vox, math.prod(patch_vox), limit))
        patch_vox, pools = smaller
    return patch_vox, pools


def design_3d_2018(stage: Stage) -> Design:
    """Plan the 3D network of one stage.

    Raises:
        PlanError: nothing fits.

    Source: 2018 §2.1
    """
    budget = budgets.scale_budget(budgets.VOXELS_3D_2018, stage.planning_memory_gb)
    edge = budgets.EDGE_2018_VOX * (budget / budgets.VOXELS_3D_2018) ** (1 / 3)
    start = start_patch_2018(stage.spacing_mm, stage.median_vox, edge)
    pools = tuple(pools_2018(size, POOL_CAP_3D_2018) for size in start)
    patch = round_patch_2018(start, stage.median_vox, tuple(2**count for count in pools))
    patch, pools = fit_patch_2018(patch, pools, budget)
    voxels = math.prod(patch)
    fit = Fit(
        spacing_mm=stage.spacing_mm,
        median_vox=stage.median_vox,
        start_vox=start,
        patch_vox=patch,
        pooling=late_pooling(pools),
        cost=voxels,
        budget=budget,
        budget_batch=budgets.BATCH_3D,
        allowed_batch=math.floor(budgets.BATCH_3D * budget / voxels),
        half_up=True,
    )
    return argue(stage, fit, RULES_3D_2018)


def design_2d_2018(stage: Stage) -> Design:
    """Plan the 2D network: the median plane padded up, and the batch that fills the voxel budget.

    A plane too large for a batch of 2 is shrunk as the 3D patch is (own).

    Raises:
        PlanError: nothing fits.

    Source: 2018 §2.1, own (shrinking)
    """
    budget = budgets.scale_budget(budgets.VOXELS_2D_2018, stage.planning_memory_gb)
    plane = stage.median_vox[1:]
    pools = tuple(pools_2018(size, POOL_CAP_2D_2018) for size in plane)
    patch = pad_to_divisible(plane, tuple(2**count for count in pools))
    patch, pools = fit_patch_2018(patch, pools, budget / budgets.SMALLEST_BATCH)
    voxels = math.prod(patch)
    fit = Fit(
        spacing_mm=stage.spacing_mm[1:],
        median_vox=plane,
        start_vox=plane,
        patch_vox=patch,
        pooling=late_pooling(pools),
        cost=voxels,
        budget=budget / budgets.BATCH_2D_2018,
        budget_batch=budgets.BATCH_2D_2018,
        allowed_batch=math.floor(budget / voxels),
        half_up=True,
    )
    return argue(stage, fit, RULES_2D_2018)


def kernels_for_2018(fit: Fit) -> tuple[tuple[int, ...], ...]:
    """Apply `kernels_2018` to a fitted patch.

    Source: 2018 §2.1
    """
    return kernels_2018(fit.pooling)


RULES_3D_2018 = FitRules(
    start=start_patch_2018,
    pool=pools_2018,
    shrink=shrink_patch_2018,
    kernel=kernels_2018,
    kernels=kernels_for_2018,
    first=budgets.FEATURES,
    cap=budgets.FEATURE_CAP_3D,
    source="2018 §2.1",
)
RULES_2D_2018 = FitRules(
    start=rounded_shape,
    pool=pools_2018,
    shrink=shrink_patch_2018,
    kernel=kernels_2018,
    kernels=kernels_for_2018,
    first=budgets.FEATURES,
    cap=budgets.FEATURE_CAP_2D,
    source="2018 §2.1",
)
