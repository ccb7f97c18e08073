from __future__ import annotations

import numpy as np
import pytest
from batchgenerators.augmentations.utils import create_zero_centered_coordinate_mesh, interpolate_img
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from nnbox.records.augmentation import Elastic, SampleAugmentation
from nnbox.rules.augmentation import AugmentationSpec, draw_augmentation
from nnbox.training.apply import augment_patch, change_intensities, elastic_offsets, sample_coordinates
from nnbox.training.noise import white_noise
from nnbox.training.patches import Arrays, cut_patch, one_hot


def drawn(**changes) -> SampleAugmentation:
    values = {"elastic": None, "angles_rad": None, "scale": None, "gammas": (None,), "mirror_axes": ()}
    return SampleAugmentation(**{**values, **changes})


def blobs(shape, seed=0, labels=(0, 1, 5), previous=False) -> Arrays:
    """A smooth image, and labels by its value, so that both can be compared after moving."""
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2.5)
    smooth /= smooth.std()
    values = np.array(labels, dtype=np.int16)[np.digitize(smooth, (0.3, 1.0))]
    image = smooth[None].astype(np.float32)
    return Arrays(image=image, labels=values, previous=values.astype(np.uint8) if previous else None)


def augment(case, start, shape, augmentation, slice_axis=None):
    return augment_patch(case, start=start, shape=shape, augmentation=augmentation, slice_axis=slice_axis)


def same(first: Arrays, second: Arrays, tolerance=0.0):
    np.testing.assert_allclose(first.image, second.image, atol=tolerance)
    np.testing.assert_array_equal(first.labels, second.labels)
    if first.previous is not None:
        np.testing.assert_array_equal(first.previous, second.previous)


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    start=st.tuples(*[st.integers(-4, 6)] * 3),
    patch=st.tuples(*[st.integers(1, 9)] * 3),
)
@settings(max_examples=60, deadline=None)
def test_a_patch_is_what_the_padded_case_holds_there(shape, start, patch):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, *shape), dtype=np.float32)
    labels = rng.integers(-1, 3, shape).astype(np.int16)
    found = cut_patch(Arrays(image=image, labels=labels, previous=np.abs(labels).astype(np.uint8)), start, patch)
    around = [(20, 20)] * 3
    part = tuple(slice(20 + first, 20 + first + edge) for first, edge in zip(start, patch, strict=True))
    np.testing.assert_array_equal(found.image, np.pad(image, [(0, 0), *around])[(slice(None), *part)])
    np.testing.assert_array_equal(found.labels, np.pad(np.maximum(labels, 0), around)[part])
    np.testing.assert_array_equal(found.previous, np.pad(np.abs(labels), around)[part])


def test_one_hot_has_a_map_per_label_and_none_for_background():
    maps = one_hot(np.array([[0, 1], [3, 1]], dtype=np.uint8), 3)
    assert maps.dtype == np.float32
    assert maps.tolist() == [[[0, 1], [0, 1]], [[0, 0], [0, 0]], [[0, 0], [1, 0]]]


def test_nothing_drawn_changes_nothing():
    case = blobs((20, 20, 20), previous=True)
    same(augment(case, (2, -3, 9), (8, 8, 8), drawn()), cut_patch(case, (2, -3, 9), (8, 8, 8)))


@pytest.mark.parametrize("slice_axis", [None, 0, 1, 2])
def test_a_scale_of_one_reads_every_voxel_where_it_lies(slice_axis):
    case = blobs((20, 20, 20), previous=True)
    found = augment(case, (2, 3, 9), (8, 7, 6), drawn(scale=1.0), slice_axis)
    same(found, cut_patch(case, (2, 3, 9), (8, 7, 6)), tolerance=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_in_plane_move_every_slice_alike(turns):
    case = blobs((6, 30, 30), previous=True)
    turned = augment(case, (1, 8, 9), (4, 9, 9), drawn(angles_rad=(turns * np.pi / 2,)), slice_axis=0)
    plain = cut_patch(case, (1, 8, 9), (4, 9, 9))
    expected = Arrays(
        image=np.rot90(plain.image, turns, axes=(2, 3)),
        labels=np.rot90(plain.labels, turns, axes=(1, 2)),
        previous=np.rot90(plain.previous, turns, axes=(1, 2)),
    )
    same(turned, expected, tolerance=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_angle_turns_about_its_own_axis(axis):
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.pi / 2
    places = sample_coordinates(drawn(angles_rad=tuple(angles)), (5, 5, 5))
    plain = create_zero_centered_coordinate_mesh((5, 5, 5))
    np.testing.assert_allclose(places[axis], plain[axis], atol=1e-12)
    assert all(np.abs(places[other] - plain[other]).max() > 1 for other in range(3) if other != axis)


@pytest.mark.parametrize("scale", [0.85, 1.25])
def test_the_scale_is_the_size_of_the_region_that_is_read(scale):
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32), (1, 60, 60, 60))
    case = Arrays(image=ramp, labels=np.zeros((60, 60, 60), dtype=np.int16), previous=None)
    found = augment(case, (20, 20, 20), (11, 11, 11), drawn(scale=scale))
    np.testing.assert_allclose(found.image[0, 3, 4], 25 + scale * (np.arange(11) - 5), atol=1e-3)


def test_corners_of_a_turned_patch_hold_image_where_there_is_some_and_zero_beyond():
    case = Arrays(
        image=np.ones((1, 40, 40, 40), dtype=np.float32), labels=np.ones((40, 40, 40), dtype=np.int16), previous=None
    )
    turn = drawn(angles_rad=(0.2, -0.2, 0.2), scale=1.25)
    inside = augment(case, (14, 14, 14), (12, 12, 12), turn)
    np.testing.assert_allclose(inside.image, 1.0, atol=1e-4)
    assert (inside.labels == 1).all()
    edge = augment(case, (0, 14, 14), (12, 12, 12), turn)
    assert (edge.image == 0).any()
    assert ((edge.image[0] == 0) == (edge.labels == 0)).all()


def test_a_patch_wholly_beyond_the_case_is_empty():
    found = augment(blobs((10, 10, 10), previous=True), (80, 0, 0), (4, 4, 4), drawn(scale=1.1))
    assert not found.image.any()
    assert not found.labels.any()
    assert not found.previous.any()


def test_reading_a_window_of_the_case_is_as_good_as_reading_all_of_it():
    case = blobs((50, 52, 54))
    case.image[...] += np.random.default_rng(1).standard_normal(case.image.shape)
    augmentation = drawn(angles_rad=(0.2, 0.1, -0.2), scale=1.1)
    places = sample_coordinates(augmentation, (8, 8, 8)) + np.reshape([23.5, 25.5, 20.5], (3, 1, 1, 1))
    whole = interpolate_img(case.image[0], places, order=3, mode="constant", cval=0.0)
    found = augment(case, (20, 22, 17), (8, 8, 8), augmentation)
    np.testing.assert_allclose(found.image[0], whole, atol=2e-6)


def test_elastic_offsets_are_smoothed_noise_of_the_drawn_strength():
    elastic = Elastic(alpha=300.0, sigma=4.0, noise_seed=11)
    offsets = elastic_offsets(elastic, (20, 24))
    noise = white_noise(11, (2, 20, 24)).astype(float)
    expected = [gaussian_filter(axis, 4.0, mode="constant", cval=0) * 300 for axis in noise]
    np.testing.assert_allclose(offsets, expected)
    other = elastic_offsets(Elastic(alpha=300.0, sigma=4.0, noise_seed=12), (20, 24))
    assert np.abs(offsets - other).max() > 1
    assert not elastic_offsets(Elastic(alpha=0.0, sigma=4.0, noise_seed=1), (5, 5)).any()


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_slicewise_augmentation_never_mixes_slices(slice_axis):
    shape = (20, 22, 24)
    levels = np.indices(shape)[slice_axis]
    case = Arrays(image=levels[None].astype(np.float32), labels=(levels % 5).astype(np.int16), previous=None)
    augmentation = drawn(
        elastic=Elastic(alpha=100.0, sigma=9.0, noise_seed=3), angles_rad=(0.3,), scale=0.9, mirror_axes=()
    )
    found = augment(case, (6, 6, 6), (8, 8, 8), augmentation, slice_axis)
    expected = np.moveaxis(np.broadcast_to(np.arange(6, 14), (8, 8, 8)), 2, slice_axis)
    inside = found.image[0] != 0
    assert inside.mean() > 0.9
    np.testing.assert_allclose(found.image[0][inside], expected[inside], atol=1e-4)
    np.testing.assert_array_equal(found.labels[inside], expected[inside] % 5)


def test_mirroring_flips_the_drawn_axes_of_everything():
    case = blobs((9, 9, 9), previous=True)
    found = augment(case, (0, 0, 0), (9, 9, 9), drawn(mirror_axes=(0, 2)))
    expected = Arrays(
        image=case.image[:, ::-1, :, ::-1], labels=case.labels[::-1, :, ::-1], previous=case.previous[::-1, :, ::-1]
    )
    same(found, expected)


@pytest.mark.parametrize("gamma", [0.7, 1.5])
def test_gamma_keeps_mean_and_standard_deviation_and_the_order_of_values(gamma):
    image = np.random.default_rng(0).gamma(2.0, 3.0, (2, 9, 9, 9)).astype(np.float32)
    changed = change_intensities(image, (gamma, None))
    np.testing.assert_array_equal(changed[1], image[1])
    assert changed[0].mean() == pytest.approx(image[0].mean(), rel=1e-4)
    assert changed[0].std() == pytest.approx(image[0].std(), rel=1e-4)
    np.testing.assert_array_equal(np.argsort(changed[0].ravel())[[0, -1]], np.argsort(image[0].ravel())[[0, -1]])
    scaled = (image[0] - image[0].min()) / np.ptp(image[0])
    assert np.corrcoef(changed[0].ravel(), scaled.ravel() ** gamma)[0, 1] == pytest.approx(1.0)


def test_a_channel_without_contrast_is_left_alone():
    image = np.full((1, 4, 4), 2.5, dtype=np.float32)
    np.testing.assert_array_equal(change_intensities(image, (0.8,)), image)


@pytest.mark.parametrize("slice_axis", [None, 0])
def test_two_hundred_drawn_augmentations_keep_labels_labels_and_image_and_labels_together(slice_axis):
    case = blobs((40, 40, 40), previous=True)
    spec = AugmentationSpec(
        dimension=3,
        slice_axis=slice_axis,
        alpha=(0.0, 900.0) if slice_axis is None else (0.0, 200.0),
        angle_rad=np.pi / 12 if slice_axis is None else np.pi,
        channels=1,
        mirror_axes=(0, 1, 2),
        previous_labels=5,
    )
    rng = np.random.default_rng(0)
    moved = 0
    for _ in range(100):
        augmentation = draw_augmentation(rng, spec=spec)
        start = rng.integers(-4, 28, 3).tolist()
        found = augment(case, start, (16, 16, 16), augmentation, slice_axis)
        assert found.image.shape == (1, 16, 16, 16)
        assert np.isfinite(found.image).all()
        assert set(np.unique(found.labels)) <= {0, 1, 5}
        assert set(np.unique(found.previous)) <= {0, 1, 5}
        if augmentation.gammas == (None,) and (augmentation.scale or augmentation.angles_rad or augmentation.elastic):
            inside = found.image[0] != 0
            by_image = np.array((0, 1, 5))[np.digitize(found.image[0], (0.3, 1.0))]
            assert (by_image == found.labels)[inside].mean() > 0.9
            moved += 1
    assert moved > 20


def test_previous_labels_move_with_the_references():
    case = blobs((30, 30, 30), previous=True)
    found = augment(case, (5, 5, 5), (16, 16, 16), drawn(angles_rad=(0.2, 0.1, 0.1), scale=1.1, mirror_axes=(1,)))
    np.testing.assert_array_equal(found.previous, found.labels)
