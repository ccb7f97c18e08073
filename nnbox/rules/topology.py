"""How often each axis is pooled, and the strides, kernels and features that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MINIMUM_EDGE_VOX = 4
POOLED_FROM_VOX = 8
POOL_CAP_2D_2018 = 6
POOL_CAP_3D_2018 = 5
SPACING_RATIO_2D_2019 = 1.8
SPACING_RATIO_2021 = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """Poolings of each axis, and for every level below the first the stride that leads to it."""

    per_axis: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    @property
    def divisors(self) -> tuple[int, ...]:
        """What a patch must be divisible by: 2^pools of each axis."""
        return tuple(2**pools for pools in self.per_axis)


def pools_2018(size_vox: float, cap: int) -> int:
    """Halve, rounding up, while the size is at least 8 voxels; at most ``cap`` times.

    Source: 2018 §2.1
    """
    pools = 0
    while size_vox >= POOLED_FROM_VOX and pools < cap:
        size_vox = math.ceil(size_vox / 2)
        pools += 1
    return pools


def pools_2019(size_vox: int) -> int:
    """Return floor(log2(size / 4)), at least 0, so that no axis falls below 4 voxels; no cap.

    Source: 2019 §2.2
    """
    return max(0, math.floor(math.log2(size_vox / MINIMUM_EDGE_VOX)))


def late_pooling(per_axis: Sequence[int]) -> Pooling:
    """Lay the poolings out over the levels: an axis with fewer pools starts later than the others.

    Source: release
    """
    deepest = max(per_axis)
    levels = range(deepest)
    strides = tuple(tuple(2 if pools + level >= deepest else 1 for pools in per_axis) for level in levels)
    return Pooling(per_axis=tuple(per_axis), strides=strides)


def pool_by_spacing(size_vox: Sequence[int], spacing_mm: Sequence[float], *, ratio: float, round_up: bool) -> Pooling:
    """Pool level by level the axes whose spacing is close to the smallest and whose size is at least 8 voxels.

    An axis qualifies when its current spacing is below ``ratio`` times the smallest current spacing over all axes,
    those included that are too small to be pooled. Spacings double, sizes are halved (rounded up or exactly). The first
    level without a qualifying axis ends it.

    Source: release (2019, the plane: ratio 1.8, exact halves; 2021: ratio 2, rounded up)
    """
    sizes = [float(size) for size in size_vox]
    spacings = list(spacing_mm)
    strides: list[tuple[int, ...]] = []
    while True:
        limit = ratio * min(spacings)
        stride = tuple(
            2 if spacing < limit and size >= POOLED_FROM_VOX else 1
            for spacing, size in zip(spacings, sizes, strict=True)
        )
        if max(stride) == 1:
            break
        strides.append(stride)
        spacings = [spacing * step for spacing, step in zip(spacings, stride, strict=True)]
        sizes = [size / step for size, step in zip(sizes, stride, strict=True)]
        if round_up:
            sizes = [math.ceil(size) for size in sizes]
    per_axis = tuple(sum(stride[axis] == 2 for stride in strides) for axis in range(len(sizes)))
    return Pooling(per_axis=per_axis, strides=tuple(strides))


def pad_to_divisible(size_vox: Sequence[float], divisors: Sequence[int]) -> tuple[int, ...]:
    """Raise each size to the next multiple of its divisor.

    Source: 2018 §2.1, release
    """
    return tuple(math.ceil(size / divisor) * divisor for size, divisor in zip(size_vox, divisors, strict=True))


def choose_features(levels: int, *, first: int, cap: int) -> tuple[int, ...]:
    """Double the features with every pooling, up to the cap; one entry per level, the bottleneck last.

    Source: 2018 §2.1, 2019 §2.2 (30, doubled); release (the cap)
    """
    return tuple(min(first * 2**level, cap) for level in range(levels))


def kernels_2018(pooling: Pooling) -> tuple[tuple[int, ...], ...]:
    """Kernel 3 on every axis of every level.

    Source: 2018 §2.1
    """
    return tuple((3,) * len(pooling.per_axis) for _ in range(len(pooling.strides) + 1))


def kernels_2019(pooling: Pooling, spacing_mm: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Kernel 1 along axes that are still coarse compared with the others, else 3; bottleneck 3.

    An axis is reached when its current spacing exceeds half of the largest initial spacing. When all are reached the
    kernel is 3 everywhere; otherwise 3 on the unreached and 1 on the reached axes.

    Source: release
    """
    largest = max(spacing_mm)
    current = list(spacing_mm)
    kernels: list[tuple[int, ...]] = []
    for stride in pooling.strides:
        reached = [spacing > largest / 2 for spacing in current]
        kernels.append(tuple(1 if near and not all(reached) else 3 for near in reached))
        current = [spacing * step for spacing, step in zip(current, stride, strict=True)]
    return (*kernels, (3,) * len(current))


def kernels_2021(pooling: Pooling, spacing_mm: Sequence[float]) -> tuple[tuple[int, ...], ...]:
    """Kernel 3 along axes whose current spacing is below twice the smallest, else 1; bottleneck 3.

    Source: release (2021)
    """
    current = list(spacing_mm)
    kernels: list[tuple[int, ...]] = []
    for stride in pooling.strides:
        limit = SPACING_RATIO_2021 * min(current)
        kernels.append(tuple(3 if spacing < limit else 1 for spacing in current))
        current = [spacing * step for spacing, step in zip(current, stride, strict=True)]
    return (*kernels, (3,) * len(current))
