"""The fingerprint's numbers against numpy on everything at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbox.errors import DataError
from nnbox.geometry import Grid
from nnbox.imaging import statistics
from nnbox.imaging.statistics import case_fingerprint, combine_intensities, foreground_values


def _case(rng, *, whole_numbers, voxels=600):
    image = rng.normal(200, 90, size=(2, 1, 1, voxels)).astype(np.float32)
    if whole_numbers:
        image = np.rint(image)
    return image, rng.integers(-1, 3, size=(1, 1, voxels)).astype(np.int32)


@pytest.mark.parametrize("whole_numbers", [True, False])
@pytest.mark.parametrize("merge_often", [True, False])
def test_statistics_equal_numpys_over_all_foreground_voxels(whole_numbers, merge_often, monkeypatch):
    if merge_often:
        monkeypatch.setattr(statistics, "_PENDING_VALUES", 10)
    rng = np.random.default_rng(0)
    cases = [_case(rng, whole_numbers=whole_numbers, voxels=size) for size in (600, 7, 4000, 1, 900)]
    found = combine_intensities(foreground_values(*case) for case in cases)
    assert len(found) == 2
    for channel, intensity in enumerate(found):
        voxels = np.concatenate([image[channel][labels > 0] for image, labels in cases]).astype(np.float64)
        low, high = np.percentile(voxels, [0.5, 99.5])
        assert intensity.voxels == voxels.size
        assert intensity.minimum == voxels.min()
        assert intensity.maximum == voxels.max()
        np.testing.assert_allclose(
            [intensity.mean, intensity.sd, intensity.percentile_00_5, intensity.percentile_99_5],
            [voxels.mean(), voxels.std(), low, high],
            rtol=1e-12,
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=400), st.integers(0, 9))
def test_the_order_of_the_cases_does_not_matter(values, seed):
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.array(values, dtype=np.float32), 3)
    cases = [foreground_values(part.reshape(1, 1, 1, -1), np.ones((1, 1, part.size), dtype=np.int32)) for part in parts]
    shuffled = [cases[index] for index in rng.permutation(3)]
    assert combine_intensities(cases) == combine_intensities(shuffled)
    np.testing.assert_allclose(combine_intensities(cases)[0].percentile_99_5, np.percentile(values, 99.5), rtol=1e-12)


def test_whole_numbers_are_held_by_distinct_value():
    image = np.tile(np.arange(-5, 5, dtype=np.float32), 1000).reshape(1, 10, 100, 10)
    found = foreground_values(image, np.ones((10, 100, 10), dtype=np.int32))
    assert found.values[0].tolist() == list(range(-5, 5))
    assert found.counts[0].tolist() == [1000] * 10


def test_no_foreground_anywhere_is_said_in_words():
    empty = foreground_values(np.ones((1, 1, 1, 4), dtype=np.float32), np.zeros((1, 1, 4), dtype=np.int32))
    with pytest.raises(DataError, match="no training case has a foreground voxel"):
        combine_intensities([empty, empty])
    with pytest.raises(DataError, match="no training case has a foreground voxel"):
        combine_intensities([])


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
