"""Third-order and linear resampling against skimage and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from nnbox.imaging.resample import resample_image, resample_probabilities

_SHAPES = [
    ((7, 20, 31), (9, 13, 40)),
    ((24, 24, 24), (12, 12, 12)),
    ((1, 17, 9), (1, 30, 5)),
    ((2, 3, 40), (5, 7, 39)),
    ((35, 50, 35), (35, 61, 35)),
    ((5, 90, 70), (9, 70, 101)),
    ((1, 1, 6), (3, 4, 1)),
]
_sizes = st.tuples(*[st.integers(1, 14)] * 3)


def _skimage(volume, shape, order):
    return resize(volume.astype(np.float64), shape, order=order, mode="edge", clip=True, anti_aliasing=False)


def _noise(shape, seed=0):
    volume = np.random.default_rng(seed).normal(size=shape)
    return (volume / max(volume.std(), 1e-6)).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), _SHAPES)
def test_third_order_equals_skimage(old, new):
    image = np.stack([_noise(old, 1), 300 * _noise(old, 2) - 700])
    ours = resample_image(image, new, separate_axis=None)
    assert ours.dtype == np.float32
    assert ours.shape == (2, *new)
    for got, channel in zip(ours, image, strict=True):
        error = np.abs(got - _skimage(channel, new, 3)).max()
        assert error <= 1e-5 * max(float(channel.std()), 1e-6)


@settings(max_examples=40, deadline=None)
@given(old=_sizes, new=_sizes, seed=st.integers(0, 99))
def test_third_order_equals_skimage_on_any_sizes(old, new, seed):
    image = _noise(old, seed)
    ours = resample_image(image[None], new, separate_axis=None)[0]
    np.testing.assert_allclose(ours, _skimage(image, new, 3), atol=1e-5)


def test_third_order_equals_scipy_zoom_inside_the_range():
    ramp = np.linspace(0, 1, 16 * 18 * 20).reshape(16, 18, 20)
    volume = (ramp + np.sin(9 * ramp)).astype(np.float32)
    zoom = ndimage.zoom(volume.astype(np.float64), (1.5, 0.5, 1.25), order=3, mode="nearest", grid_mode=True)
    ours = resample_image(volume[None], zoom.shape, separate_axis=None)[0]
    np.testing.assert_allclose(ours, np.clip(zoom, volume.min(), volume.max()), atol=1e-5 * volume.std())


def test_an_intensity_far_from_zero_keeps_its_structure():
    image = 20_000 + _noise((10, 11, 12))
    ours = resample_image(image[None], (15, 9, 14), separate_axis=None)[0]
    # float32 itself resolves no better than 0.002 here.
    np.testing.assert_allclose(ours, _skimage(image, (15, 9, 14), 3), atol=4e-3)


def test_overshoot_at_an_edge_is_clipped_to_the_input_range_of_the_channel():
    step = np.zeros((1, 12, 12, 12), dtype=np.float32)
    step[:, 6:] = 5
    ours = resample_image(np.concatenate([step, 10 * step]), (20, 20, 20), separate_axis=None)
    assert ours[0].min() == 0
    assert ours[0].max() == 5
    assert ours[1].max() == 50


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("coarse", [3, 5, 6, 13])
def test_a_separate_axis_is_slicewise_skimage_and_then_the_nearest_slice(axis, coarse):
    old, new = [12, 17, 9], [15, 11, 16]
    old[axis], new[axis] = 6, coarse
    image = _noise(old)
    slices = np.moveaxis(image, axis, 0)
    plane = [size for index, size in enumerate(new) if index != axis]
    in_plane = np.stack([_skimage(part, plane, 3) for part in slices])
    nearest = ndimage.map_coordinates(
        np.arange(6.0), [(np.arange(coarse) + 0.5) * 6 / coarse - 0.5], order=0, mode="nearest"
    ).astype(int)
    ours = resample_image(image[None], new, separate_axis=axis)[0]
    np.testing.assert_allclose(ours, np.moveaxis(in_plane[nearest], 0, axis), atol=1e-5)


def test_equal_sizes_return_an_equal_copy():
    image = _noise((2, 4, 5, 6))
    ours = resample_image(image, (4, 5, 6), separate_axis=None)
    assert np.array_equal(ours, image)
    assert not np.shares_memory(ours, image)


@settings(max_examples=25, deadline=None)
@given(old=_sizes, new=_sizes, value=st.floats(-3000, 3000, width=32), axis=st.sampled_from([None, 0, 1, 2]))
def test_constant_in_gives_constant_out(old, new, value, axis):
    image = np.full((1, *old), value, dtype=np.float32)
    assert np.all(resample_image(image, new, separate_axis=axis) == np.float32(value))


def test_a_view_of_a_transposed_image_is_resampled_as_its_copy():
    image = _noise((2, 9, 8, 7)).transpose(0, 3, 1, 2)[:, 1:, :, ::-1]
    new = (8, 11, 5)
    ours = resample_image(image, new, separate_axis=None)
    assert np.array_equal(ours, resample_image(np.ascontiguousarray(image), new, separate_axis=None))


@pytest.mark.parametrize(("old", "new"), _SHAPES)
def test_probabilities_are_interpolated_linearly_as_by_skimage(old, new):
    volume = _noise(old)
    ours = resample_probabilities(volume[None], new, separate_axis=None)[0]
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, _skimage(volume, new, 1), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(old=_sizes, new=_sizes, axis=st.sampled_from([None, 0, 1, 2]))
def test_probabilities_stay_probabilities(old, new, axis):
    softmax = np.random.default_rng(0).dirichlet(np.ones(4), size=old).astype(np.float32)
    ours = resample_probabilities(np.moveaxis(softmax, -1, 0), new, separate_axis=axis)
    assert ours.min() >= 0
    np.testing.assert_allclose(ours.sum(axis=0), 1, atol=1e-5)
