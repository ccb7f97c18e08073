"""Which samples of a batch must hold foreground, and where their patches lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnbox.recipes import ForcedSamples

UNFORCED_SHARE_2019 = 0.67


def forced_samples(batch_size: int, rule: ForcedSamples) -> tuple[bool, ...]:
    """Tell for each sample of a batch whether it must hold foreground; the forced ones come last.

    2018: floor(B / 3) + 1 of B. 2019: the last B - round(0.67 B).

    Source: 2018 §2.3 (more than a third), release
    """
    if rule is ForcedSamples.MORE_THAN_A_THIRD:
        forced = batch_size // 3 + 1
    else:
        forced = batch_size - round(UNFORCED_SHARE_2019 * batch_size)
    return tuple(index >= batch_size - forced for index in range(batch_size))


def choose_case(rng: np.random.Generator, cases: int) -> int:
    """Draw a case with replacement: an index below ``cases``.

    Source: release
    """
    return int(rng.integers(cases))


def choose_forced_class(rng: np.random.Generator, class_voxels: Sequence[int]) -> int | None:
    """Draw one of the foreground classes (1..K) that the case holds; None when it holds none.

    Args:
        rng: the sample's generator.
        class_voxels: voxels of each label 1..K in the prepared case.

    Source: 2018 §2.3 (a randomly chosen foreground class)
    """
    present = [label for label, voxels in enumerate(class_voxels, start=1) if voxels > 0]
    return present[int(rng.integers(len(present)))] if present else None


def choose_patch_start(
    rng: np.random.Generator,
    *,
    shape_vox: Sequence[int],
    patch_vox: Sequence[int],
    centre_vox: Sequence[int] | None,
) -> tuple[int, ...]:
    """Choose the first voxel of a patch.

    Without a centre the start is uniform over all patches inside the image. With a centre the patch lies around it,
    moved into the image as far as it fits. On an axis where the image is smaller than the patch, the image lies in
    the middle of the patch and the start is negative or 0.

    Args:
        rng: the sample's generator; drawn from once per axis only when there is no centre.
        shape_vox: size of the image.
        patch_vox: size of the patch, same number of axes.
        centre_vox: a voxel of the forced class, or None.

    Source: 2018 §2.3, release (the release lets a forced patch leave the image at its far end)
    """
    starts: list[int] = []
    for axis, (size, edge) in enumerate(zip(shape_vox, patch_vox, strict=True)):
        lowest, highest = (0, size - edge) if size >= edge else (-((edge - size) // 2),) * 2
        if centre_vox is None:
            starts.append(int(rng.integers(lowest, highest + 1)))
        else:
            starts.append(min(max(centre_vox[axis] - edge // 2, lowest), highest))
    return tuple(starts)
