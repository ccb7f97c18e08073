"""Label resampling against batchgenerators and against hand-made ties."""

from __future__ import annotations

import numpy as np
import pytest
from batchgenerators.augmentations.utils import resize_segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from nnbox.imaging.resample import resample_labels

_sizes = st.tuples(*[st.integers(1, 12)] * 3)


def _blobs(shape, labels, seed=0):
    fields = np.random.default_rng(seed).normal(size=(labels, *shape))
    smooth = ndimage.gaussian_filter(fields, (0, 1.5, 1.5, 1.5))
    return (smooth.argmax(axis=0) - 1).astype(np.int16)


def _margin(labels, shape):
    """How far the best indicator is ahead of the second, in float64 by skimage."""
    values = np.unique(labels)
    if values.size == 1:
        return np.ones(shape)
    scores = np.stack(
        [
            resize((labels == value).astype(float), shape, 1, mode="edge", clip=True, anti_aliasing=False)
            for value in values
        ]
    )
    scores.sort(axis=0)
    return scores[-1] - scores[-2]


@pytest.mark.parametrize(
    ("old", "new"),
    [((20, 24, 22), (27, 19, 30)), ((1, 40, 33), (1, 29, 50)), ((6, 30, 30), (14, 31, 15)), ((9, 8, 7), (8, 9, 23))],
)
def test_the_largest_indicator_wins_as_in_batchgenerators(old, new):
    labels = _blobs(old, 5)
    ours = resample_labels(labels, new, order=1, separate_axis=None)
    theirs = resize_segmentation(labels, new, 1)
    clear = _margin(labels, new) > 1e-9
    assert ours.dtype == labels.dtype
    assert clear.mean() > 0.9
    assert np.array_equal(ours[clear], theirs[clear])


@settings(max_examples=40, deadline=None)
@given(old=_sizes, new=_sizes, seed=st.integers(0, 99))
def test_the_largest_indicator_wins_on_any_sizes_of_noise(old, new, seed):
    labels = np.random.default_rng(seed).integers(-1, 4, size=old).astype(np.int16)
    ours = resample_labels(labels, new, order=1, separate_axis=None)
    clear = _margin(labels, new) > 1e-9
    assert np.array_equal(ours[clear], resize_segmentation(labels, new, 1)[clear])


@settings(max_examples=40, deadline=None)
@given(old=_sizes, new=_sizes, order=st.sampled_from([0, 1]), axis=st.sampled_from([None, 0, 1, 2]))
def test_no_label_is_invented(old, new, order, axis):
    labels = np.random.default_rng(3).choice(np.array([-1, 0, 2, 7], dtype=np.int16), size=old)
    ours = resample_labels(labels, new, order=order, separate_axis=axis)
    assert ours.shape == new
    assert set(np.unique(ours)) <= set(np.unique(labels))


@settings(max_examples=40, deadline=None)
@given(old=_sizes, new=_sizes)
def test_order_zero_is_the_nearest_voxel_of_skimage(old, new):
    labels = np.random.default_rng(4).integers(-1, 5, size=old).astype(np.int16)
    theirs = resize(labels.astype(float), new, 0, mode="edge", clip=True, anti_aliasing=False)
    # skimage computes positions in floating point; halfway between two voxels its rounding decides, so leave those out.
    halfway = np.zeros(new, dtype=bool)
    for axis, (a, b) in enumerate(zip(old, new, strict=True)):
        line = (2 * np.arange(b) + 1) * a % (2 * b) == 0
        halfway |= np.moveaxis(line[:, None, None], 0, axis)
    ours = resample_labels(labels, new, order=0, separate_axis=None)
    assert np.array_equal(ours[~halfway], theirs[~halfway])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_separate_axis_is_linear_in_plane_and_nearest_along_it(axis):
    old, new = [14, 15, 13], [19, 11, 17]
    old[axis], new[axis] = 5, 12
    labels = _blobs(old, 4)
    plane = [size for index, size in enumerate(new) if index != axis]
    slices = np.moveaxis(labels, axis, 0)
    in_plane = np.stack([resample_labels(part[None], (1, *plane), order=1, separate_axis=0)[0] for part in slices])
    theirs = np.stack([resize_segmentation(part, plane, 1) for part in slices])
    clear = np.stack([_margin(part, plane) for part in slices]) > 1e-9
    assert np.array_equal(in_plane[clear], theirs[clear])
    nearest = [int((i + 0.5) * 5 / 12) for i in range(12)]
    ours = resample_labels(labels, new, order=1, separate_axis=axis)
    assert np.array_equal(ours, np.moveaxis(in_plane[nearest], 0, axis))


def test_a_tie_goes_to_the_nearest_voxel_and_halfway_to_the_later_one():
    labels = np.array([[[1, 2, 2, 1]]], dtype=np.uint8)
    # Two output voxels lie exactly between voxels 0 and 1 and between voxels 2 and 3.
    assert resample_labels(labels, (1, 1, 2), order=1, separate_axis=None).tolist() == [[[2, 1]]]
    assert resample_labels(labels, (1, 1, 2), order=0, separate_axis=None).tolist() == [[[2, 1]]]


def test_a_tie_that_the_nearest_voxel_lost_goes_to_the_smallest_of_the_tied():
    cube = np.array([3, 1, 1, 1, 2, 2, 2, 3], dtype=np.int16).reshape(2, 2, 2)
    assert resample_labels(cube, (1, 1, 1), order=1, separate_axis=None).item() == 1
    assert resize_segmentation(cube, (1, 1, 1), 1).item() == 1


def test_background_counts_so_that_no_hole_opens_where_three_labels_meet():
    square = np.array([[[1, 2], [3, 0]]], dtype=np.int16)
    ours = resample_labels(square, (1, 6, 6), order=1, separate_axis=None)[0]
    expected = np.kron(square[0], np.ones((3, 3), dtype=np.int16))
    assert np.array_equal(ours, expected)


def _release(labels, shape):
    """The release: a label where its linear indicator is 0.5 or more, later labels over earlier ones."""
    result = np.zeros(shape, dtype=labels.dtype)
    for value in np.unique(labels):
        scores = resize((labels == value).astype(float), shape, 1, mode="edge", clip=True, anti_aliasing=False)
        result[scores >= 0.5] = value
    return result


def test_the_largest_indicator_is_followed_where_the_release_opens_holes():
    # Three labels meet: no indicator reaches 0.5 there, and the release leaves background that no voxel has.
    square = np.array([[[1, 2], [3, 3]]], dtype=np.int16)
    shape = (1, 7, 7)
    assert (_release(square, shape) == 0).any()
    assert (resample_labels(square, shape, order=1, separate_axis=None) > 0).all()


def test_the_largest_indicator_and_the_release_agree_but_for_such_places():
    # One blob: the two rules are the same, up to ties at exactly one half.
    labels = (_blobs((20, 22, 18), 2) > 0).astype(np.int16)
    shape = (27, 17, 25)
    clear = _margin(labels, shape) > 1e-9
    ours = resample_labels(labels, shape, order=1, separate_axis=None)
    assert np.array_equal(ours[clear], _release(labels, shape)[clear])
    # Five labels that fill the volume and meet everywhere: a few voxels in a hundred differ.
    labels = _blobs((20, 22, 18), 5) + 2
    ours = resample_labels(labels, shape, order=1, separate_axis=None)
    assert 0 < np.mean(ours != _release(labels, shape)) < 0.1


def test_equal_sizes_return_an_equal_copy():
    labels = _blobs((5, 6, 7), 3)
    ours = resample_labels(labels, labels.shape, order=1, separate_axis=None)
    assert np.array_equal(ours, labels)
    assert not np.shares_memory(ours, labels)
