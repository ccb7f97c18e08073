"""Memory budgets: how large a network may be, and how large a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

DOCUMENTS_CARD_GB = 12.0
EDGE_2018_VOX = 128
VOXELS_3D_2018 = 128**3
BATCH_2D_2018 = 42
VOXELS_2D_2018 = 256**2 * BATCH_2D_2018
BATCH_3D = 2
BATCH_2D_2019 = 50
PROXY_3D_2019 = 520_000_000
PROXY_2D_2019 = 19_739_648
TYPICAL_PATCH_VOXELS_2019 = 64 * 192 * 160
FEATURES = 30
FEATURES_2021 = 32
FEATURE_CAP_3D = 320
FEATURE_CAP_2D = 480
FEATURE_CAP_2D_2021 = 512
SMALLEST_BATCH = 2
LARGEST_SHARE_OF_DATA = 0.05


def scale_budget(at_12_gb: float, planning_memory_gb: float) -> float:
    """Scale a budget of the documents' 12 GB card linearly to another planning memory.

    Source: own
    """
    return at_12_gb * (planning_memory_gb / DOCUMENTS_CARD_GB)


def memory_proxy(
    patch_vox: Sequence[int],
    strides: Sequence[Sequence[int]],
    *,
    first: int,
    cap: int,
    channels: int,
    classes: int,
) -> int:
    """Estimate a network's memory as a count of stored values for one patch.

    At full resolution 5 maps of ``first`` features, the image channels and the classes (background counted); each
    further level 5 maps of its features, the last level 2.

    Args:
        patch_vox: sizes, divisible by 2^pools.
        strides: per level below the first.
        first: features of the first level.
        cap: the most features of any level.
        channels: of the image.
        classes: of the output, background included.

    Source: 2019 §2.2 (a 12 GB card), release (the count)
    """
    sizes = list(patch_vox)
    total = math.prod(sizes) * (5 * first + channels + classes)
    features = first
    for level, stride in enumerate(strides, start=1):
        sizes = [size // step for size, step in zip(sizes, stride, strict=True)]
        features = min(features * 2, cap)
        maps = 2 if level == len(strides) else 5
        total += maps * math.prod(sizes) * features
    return total


def cap_batch(batch: int, patch_voxels: int, *, stage_voxels: int, cases: int, half_up: bool) -> tuple[int, int]:
    """Let a batch see at most 5 % of the data set's voxels, but never hold fewer than 2 samples.

    Args:
        batch: what the budget allows.
        patch_voxels: of one sample.
        stage_voxels: voxels of the 3D median shape of that stage (2D: at full resolution).
        cases: number of training cases.
        half_up: round the limit half up (2018), else half to even (2019).

    Returns:
        The batch size and the limit before the floor of 2.

    Source: 2018 §2.1; release for 2019
    """
    exact = LARGEST_SHARE_OF_DATA * stage_voxels * cases / patch_voxels
    limit = math.floor(exact + 0.5) if half_up else round(exact)
    return max(SMALLEST_BATCH, min(batch, limit)), limit
