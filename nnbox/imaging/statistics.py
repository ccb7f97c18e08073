"""What a case adds to the fingerprint: geometry, components, and the exact distribution of foreground intensities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Grid, tidy_spacing_mm
from nnbox.imaging.components import component_counts
from nnbox.imaging.counts import Bins, CaseCounts, FineCounts, count_channel, count_fine
from nnbox.imaging.crop import nonzero_box
from nnbox.records.fingerprint import CaseFingerprint


def case_fingerprint(
    name: str, image: NDArray[np.float32], labels: NDArray[np.int32], grid: Grid, label_count: int
) -> CaseFingerprint:
    """Measure one training case.

    Source: 2018 §2.2 (shape and spacing after cropping), own (components).

    Args:
        name: the case.
        image: (channel, z, y, x) float32, source order.
        labels: (z, y, x) consecutive labels 0..label_count, source order.
        grid: of the image.
        label_count: number of foreground labels.
    """
    box, _ = nonzero_box(image)
    z, y, x = image.shape[1:]
    dz, dy, dx = tidy_spacing_mm(grid.spacing_mm)
    voxels = np.bincount(np.maximum(labels, 0).reshape(-1), minlength=label_count + 1)
    return CaseFingerprint(
        name=name,
        source_shape_vox=(z, y, x),
        shape_vox=box.shape_vox,
        spacing_mm=(dz, dy, dx),
        crop_ratio=float(np.prod(box.shape_vox, dtype=np.float64) / np.prod((z, y, x), dtype=np.float64)),
        label_voxels=tuple(int(count) for count in voxels[1 : label_count + 1]),
        components=component_counts(labels, label_count),
    )


def foreground_counts(image: NDArray[np.float32], labels: NDArray[np.int32]) -> CaseCounts:
    """Count the intensities of all voxels with a label above 0, at original resolution.

    Source: 2018 §2.2 (the release takes every tenth voxel; here every one).

    Args:
        image: (channel, z, y, x) float32.
        labels: (z, y, x).
    """
    foreground = labels > 0
    return tuple(count_channel(channel[foreground]) for channel in image)


def foreground_fine_counts(image: NDArray[np.float32], labels: NDArray[np.int32], bins: Sequence[Bins]) -> FineCounts:
    """Look at the same voxels a second time, in the given bins of each channel; see `nnbox.imaging.intensities`."""
    foreground = labels > 0
    return tuple(
        count_fine(channel[foreground] if wanted else channel[:0].reshape(-1), wanted)
        for channel, wanted in zip(image, bins, strict=True)
    )
