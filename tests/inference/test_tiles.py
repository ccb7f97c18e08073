"""Laws of tiles and weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.inference.tiles import axis_weights, gaussian_weights, summed_axis_weights, tile_corners, tile_starts

sizes = st.integers(1, 400)


@given(sizes, st.integers(1, 200))
def test_tiles_cover_every_voxel_stay_inside_and_overlap_by_half(size, patch):
    size = max(size, patch)
    starts = tile_starts(size, patch)
    covered = np.zeros(size, bool)
    for start in starts:
        assert 0 <= start <= size - patch
        covered[start : start + patch] = True
    assert covered.all()
    assert starts[0] == 0
    assert starts[-1] == size - patch
    steps = np.diff(starts)
    assert steps.size == 0 or steps.min() >= 1
    assert steps.size == 0 or steps.max() <= max(patch / 2, 1) + 0.5


@given(sizes, st.integers(1, 200))
def test_tiles_are_evenly_spaced(size, patch):
    steps = np.diff(tile_starts(max(size, patch), patch))
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_one_tile_where_the_patch_is_the_image_and_three_where_it_is_half():
    assert tile_starts(64, 64) == (0,)
    assert tile_starts(64, 32) == (0, 16, 32)
    assert tile_starts(65, 64) == (0, 1)


def test_slices_of_a_2d_network_come_once():
    assert tile_starts(5, 1) == (0, 1, 2, 3, 4)


def test_an_axis_shorter_than_the_patch_is_refused():
    with pytest.raises(ValueError, match="padded"):
        tile_starts(10, 11)


def test_corners_are_the_product_of_the_axes():
    assert tile_corners((4, 6), (4, 4)) == ((0, 0), (0, 2))


@given(st.integers(1, 512))
def test_weights_are_positive_symmetric_and_a_gaussian_of_an_eighth_of_the_patch(patch):
    weights = axis_weights(patch)
    assert (weights > 0).all()
    np.testing.assert_array_equal(weights, weights[::-1])
    distance = np.arange(patch) - (patch - 1) / 2
    bell = np.exp(-0.5 * (distance / (patch / 8)) ** 2)
    np.testing.assert_allclose(weights, bell / bell.max(), rtol=1e-5)


def test_weights_of_a_patch_are_the_outer_product_and_their_sum_over_tiles_that_of_the_axes():
    shape, patch = (13, 20, 31), (8, 10, 12)
    weights = gaussian_weights(patch)
    total = np.zeros(shape)
    for z, y, x in tile_corners(shape, patch):
        total[z : z + 8, y : y + 10, x : x + 12] += weights
    sums = [summed_axis_weights(size, length) for size, length in zip(shape, patch, strict=True)]
    np.testing.assert_allclose(np.einsum("z,y,x->zyx", *sums), total, rtol=1e-5)
    assert total.min() > 0
