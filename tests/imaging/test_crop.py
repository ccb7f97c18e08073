"""The bounding box of what is not zero, and its filled mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnbox.geometry import Box
from nnbox.imaging.crop import bounding_box, nonzero_box


def test_the_box_holds_the_nonzero_voxels_of_every_channel():
    image = np.zeros((2, 6, 7, 8), dtype=np.float32)
    image[0, 1, 2, 3] = 4
    image[1, 4, 2, 5] = -1
    box, mask = nonzero_box(image)
    assert box == Box(start=(1, 2, 3), stop=(5, 3, 6))
    assert mask.shape == box.shape_vox
    assert mask.sum() == 2


def test_a_hole_is_filled_and_a_bay_is_not():
    image = np.zeros((1, 7, 7, 7), dtype=np.float32)
    image[0, 1:6, 1:6, 1:6] = 1
    image[0, 3, 3, 3] = 0
    image[0, 1:3, 1, 1] = 0
    _, mask = nonzero_box(image)
    assert mask[2, 2, 2]
    assert not mask[0, 0, 0]
    assert not mask[1, 0, 0]


def test_a_hole_of_a_flat_image_is_filled_in_the_plane():
    image = np.zeros((1, 1, 5, 5), dtype=np.float32)
    image[0, 0, 1:4, 1:4] = 1
    image[0, 0, 2, 2] = 0
    box, mask = nonzero_box(image)
    assert box.shape_vox == (1, 3, 3)
    assert mask.all()


def test_an_image_of_zeros_is_kept_whole():
    box, mask = nonzero_box(np.zeros((1, 2, 3, 4), dtype=np.float32))
    assert box == Box(start=(0, 0, 0), stop=(2, 3, 4))
    assert mask.all()
    assert bounding_box(np.zeros((2, 3, 4), dtype=bool)) is None


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(2, 9), st.integers(1, 9), st.integers(1, 9)),
    share=st.floats(0.02, 0.95),
    seed=st.integers(0, 999),
)
def test_the_filled_mask_equals_scipys(shape, share, seed):
    image = (np.random.default_rng(seed).random((1, *shape)) < share).astype(np.float32)
    box, mask = nonzero_box(image)
    if image.any() and box.shape_vox[0] > 1:
        assert np.array_equal(mask, ndimage.binary_fill_holes(image[0])[box.slices])
        assert np.count_nonzero(image[0][box.slices]) == np.count_nonzero(image)
