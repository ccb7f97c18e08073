"""From the prepared grid back to the source: shapes, order, ties, values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.geometry import Box, Placement
from nnbox.inference.export import (
    labels_on_prepared,
    labels_on_source,
    most_probable,
    original_values,
    probabilities_on_crop,
    smallest_unsigned,
)
from nnbox.records.dataset import Label
from nnbox.records.plan import Resampling


def placement(prepared=(6, 8, 10), order=(2, 0, 1), crop=((1, 2, 3), (7, 12, 13)), spacing=(3.0, 1.0, 1.0)):
    """A source of (14, 15, 9) voxels whose working order is (9, 14, 15)."""
    return Placement(
        source_shape_vox=(14, 15, 9),
        axis_order=order,
        crop=Box(start=crop[0], stop=crop[1]),
        crop_spacing_mm=spacing,
        prepared_shape_vox=prepared,
        prepared_spacing_mm=(3.0, 1.25, 1.0),
    )


def resampling(first=3.0, threshold=None):
    return Resampling(target_spacing_mm=(first, 1.25, 1.0), separate_axis_threshold=threshold, label_order=1)


def one_hot(labels, classes):
    return np.stack([labels == index for index in range(classes)]).astype(np.float32)


def test_probabilities_come_back_on_the_crop_and_still_sum_to_one(rng):
    probabilities = rng.dirichlet([1, 1, 1], (6, 8, 10)).astype(np.float32).transpose(3, 0, 1, 2)
    back = probabilities_on_crop(probabilities, placement(), resampling())
    assert back.shape == (3, 6, 10, 10)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back.sum(axis=0), 1, atol=1e-5)
    assert back.min() >= 0


def test_a_2d_configuration_keeps_its_slices_apart(rng):
    probabilities = np.zeros((2, 6, 8, 10), np.float32)
    probabilities[0] = 1
    probabilities[:, 3] = probabilities[::-1, 3]
    back = probabilities_on_crop(probabilities, placement(), resampling(first=None))
    np.testing.assert_array_equal(back[1].any(axis=(1, 2)), [False, False, False, True, False, False])


def test_a_separate_coarse_axis_takes_whole_slices():
    place = placement(prepared=(3, 8, 10), spacing=(9.0, 1.0, 1.0))
    probabilities = np.zeros((2, 3, 8, 10), np.float32)
    probabilities[0, :2], probabilities[1, 2] = 1, 1
    back = probabilities_on_crop(probabilities, place, resampling(threshold=3.0))
    assert set(np.unique(back)) == {0.0, 1.0}
    blended = probabilities_on_crop(probabilities, place, resampling(threshold=None))
    assert len(np.unique(blended)) > 2


def test_probabilities_of_another_grid_are_refused():
    with pytest.raises(ValueError, match="not on the prepared grid"):
        probabilities_on_crop(np.zeros((2, 6, 8, 9), np.float32), placement(), resampling())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_labels_return_to_where_the_crop_was_taken(order, rng):
    source = (14, 15, 9)
    working = tuple(source[axis] for axis in order)
    stop = tuple(size - 2 for size in working)
    place = Placement(
        source_shape_vox=source,
        axis_order=order,
        crop=Box(start=(1, 1, 1), stop=stop),
        crop_spacing_mm=(1.0, 1.0, 1.0),
        prepared_shape_vox=tuple(size - 3 for size in working),
        prepared_spacing_mm=(1.0, 1.0, 1.0),
    )
    labels = rng.integers(0, 3, source).astype(np.uint8)
    kept = place.restore(place.place(labels))
    back = labels_on_source(one_hot(place.place(labels), 3), place)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, kept)


def test_a_tie_goes_to_the_lowest_class():
    probabilities = np.array([0.2, 0.4, 0.4, 0.0], np.float32).reshape(4, 1, 1, 1)
    assert most_probable(probabilities).item() == 1
    assert most_probable(np.full((5, 1, 1, 1), 0.2, np.float32)).item() == 0


@given(st.integers(0, 2**32 - 1))
def test_the_most_probable_class_is_numpys_argmax(seed):
    probabilities = np.random.default_rng(seed).integers(0, 4, (5, 2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(most_probable(probabilities), probabilities.argmax(axis=0))


def test_original_values_come_back_in_the_smallest_unsigned_type():
    labels = [Label(value=value, name=str(value)) for value in (1, 3, 300)]
    back = original_values(np.array([0, 1, 2, 3], np.uint8), labels)
    np.testing.assert_array_equal(back, [0, 1, 3, 300])
    assert back.dtype == np.uint16
    assert original_values(np.array([2, 0]), labels[:2]).dtype == np.uint8
    with pytest.raises(ValueError, match="label 3"):
        original_values(np.array([3]), labels[:2])


@pytest.mark.parametrize(("highest", "kind"), [(255, np.uint8), (256, np.uint16), (65536, np.uint32)])
def test_the_smallest_unsigned_type_holds_the_highest_value(highest, kind):
    assert smallest_unsigned(highest) is kind


def test_first_stage_labels_reach_the_second_stages_grid():
    low, full = placement(prepared=(6, 5, 5)), placement(prepared=(6, 10, 10))
    probabilities = np.zeros((3, 6, 5, 5), np.float32)
    probabilities[0] = 0.5
    probabilities[2, :, :, 2:] = 0.9
    labels = labels_on_prepared(probabilities, low, full, resampling())
    assert labels.dtype == np.uint8
    assert labels.shape == (6, 10, 10)
    assert set(np.unique(labels)) == {0, 2}
    assert (labels[:, :, 5:] == 2).all()
    assert (labels[:, :, :3] == 0).all()


def test_stages_that_crop_differently_are_refused():
    other = placement(crop=((0, 2, 3), (7, 12, 13)))
    with pytest.raises(ValueError, match="crop differently"):
        labels_on_prepared(np.zeros((2, 6, 8, 10), np.float32), placement(), other, resampling())
