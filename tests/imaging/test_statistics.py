"""What a case adds to the fingerprint."""

from __future__ import annotations

import numpy as np

from nnbox.geometry import Grid
from nnbox.imaging.statistics import case_fingerprint, foreground_counts, foreground_fine_counts


def test_the_foreground_of_every_channel_is_counted():
    rng = np.random.default_rng(0)
    image = rng.normal(200, 90, (2, 3, 4, 5)).astype(np.float32)
    labels = rng.integers(-1, 3, (3, 4, 5)).astype(np.int32)
    found = foreground_counts(image, labels)
    for channel, counts in zip(image, found, strict=True):
        assert np.array_equal(np.repeat(counts.values, counts.counts), np.sort(channel[labels > 0]))
    bins = ((32768 + 0x4348,), ())  # 200 to 201, in the first channel
    first, second = foreground_fine_counts(image, labels, bins)
    voxels = image[0][labels > 0]
    assert first.sum() == np.count_nonzero((voxels >= 200) & (voxels < 201))
    assert second.shape == (0, 65536)


def test_a_case_is_measured_in_source_order():
    image = np.zeros((1, 4, 6, 8), dtype=np.float32)
    image[0, 1:3, 1:5, 2:6] = 1
    labels = np.zeros((4, 6, 8), dtype=np.int32)
    labels[1, 1, 2] = labels[2, 2, 3] = labels[2, 4, 5] = 1
    grid = Grid(
        shape_vox=(4, 6, 8),
        spacing_mm=(3.00000012, 0.5, 0.7),
        origin_xyz_mm=(0, 0, 0),
        direction_xyz=(1, 0, 0, 0, 1, 0, 0, 0, 1),
    )
    found = case_fingerprint("a", image, labels, grid, 3)
    assert found.source_shape_vox == (4, 6, 8)
    assert found.shape_vox == (2, 4, 4)
    assert found.spacing_mm == (3.0, 0.5, 0.7)
    assert found.crop_ratio == 32 / 192
    assert found.label_voxels == (3, 0, 0)
    assert found.components == (2, 0, 0)
