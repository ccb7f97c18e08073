from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnbox.records.augmentation import MaskOperation, SampleAugmentation
from nnbox.training.previous import change_previous, dilate, erode, morph


def ball(radius, axes=3):
    places = np.indices((2 * radius + 1,) * axes) - radius
    return (places**2).sum(axis=0) <= radius**2


def drawn(operations=(), removal=()):
    return SampleAugmentation(
        elastic=None,
        angles_rad=None,
        scale=None,
        gammas=(None,),
        mirror_axes=(),
        mask_operations=tuple(operations),
        removal=tuple(removal),
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.integers(1, 5), density=st.sampled_from([0.005, 0.3, 0.97]))
def test_dilation_and_erosion_are_those_of_a_ball(seed, radius, density):
    mask = np.random.default_rng(seed).random((9, 12, 11)) < density
    np.testing.assert_array_equal(dilate(mask, radius), ndimage.binary_dilation(mask, ball(radius)))
    np.testing.assert_array_equal(erode(mask, radius), ndimage.binary_erosion(mask, ball(radius), border_value=1))


@pytest.mark.parametrize("radius", [1, 3, 8])
@pytest.mark.parametrize("operator", ["opening", "closing"])
def test_opening_and_closing_are_their_two_steps(operator, radius):
    mask = ndimage.gaussian_filter(np.random.default_rng(radius).standard_normal((20, 22, 24)), 2) > 0.05
    first, second = (erode, dilate) if operator == "opening" else (dilate, erode)
    np.testing.assert_array_equal(morph(mask, operator, radius), second(first(mask, radius), radius))
    smaller, larger = (
        (morph(mask, operator, radius), mask) if operator == "opening" else (mask, morph(mask, operator, radius))
    )
    assert not (smaller & ~larger).any()


@pytest.mark.parametrize("operator", ["dilation", "erosion", "opening", "closing"])
def test_empty_and_full_masks_stay_as_they_are(operator):
    for mask in (np.zeros((4, 5), dtype=bool), np.ones((4, 5), dtype=bool)):
        np.testing.assert_array_equal(morph(mask, operator, 3), mask)


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="unknown operator 'shaking'"):
        morph(np.ones((2, 2), dtype=bool), "shaking", 1)


def test_what_a_label_gains_is_taken_from_the_others():
    labels = np.zeros((9, 9), dtype=np.uint8)
    labels[:, :4] = 1
    labels[:, 4:6] = 2
    changed = change_previous(labels, drawn([MaskOperation(label=1, operator="dilation", radius_vox=2)]))
    assert (changed[:, :6] == 1).all()
    assert not changed[:, 6:].any()
    assert labels[0, 4] == 2, "the given labels are not touched"


def test_what_a_label_loses_becomes_background():
    labels = np.full((9, 9), 2, dtype=np.uint8)
    labels[:, :5] = 1
    changed = change_previous(labels, drawn([MaskOperation(label=1, operator="erosion", radius_vox=2)]))
    assert (changed[:, :3] == 1).all()
    assert not changed[:, 3:5].any()
    assert (changed[:, 5:] == 2).all()


def test_operations_are_applied_in_the_order_drawn():
    labels = np.zeros((1, 12), dtype=np.uint8)
    labels[0, 2], labels[0, 6] = 1, 2
    grow = [MaskOperation(label=label, operator="dilation", radius_vox=3) for label in (1, 2)]
    assert change_previous(labels, drawn(grow)).tolist() == [[1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0, 0]]
    assert change_previous(labels, drawn(grow[::-1])).tolist() == [[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]]


@pytest.mark.parametrize(("choice", "left"), [(0.0, (0, 4, 4)), (0.34, (4, 0, 4)), (0.99, (4, 4, 0))])
def test_one_component_is_removed_by_its_drawn_number(choice, left):
    labels = np.zeros((1, 2, 60), dtype=np.uint8)
    for place in range(3):
        labels[0, :, 10 * place : 10 * place + 2] = 3
    changed = change_previous(labels, drawn(removal=[(3, choice)]))
    counts = tuple((changed[0, :, 10 * place : 10 * place + 2] == 3).sum() for place in range(3))
    assert counts == left


@pytest.mark.parametrize(("size", "removed"), [(14, True), (15, False)])
def test_only_a_component_below_fifteen_percent_of_the_patch_is_removed(size, removed):
    labels = np.zeros((10, 10), dtype=np.uint8)
    labels.ravel()[:size] = 1
    assert change_previous(labels, drawn(removal=[(1, 0.5)])).any() != removed


def test_voxels_that_touch_at_a_corner_are_one_component():
    labels = np.zeros((3, 4, 5), dtype=np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = 1
    assert not change_previous(labels, drawn(removal=[(1, 0.0)])).any()


def test_a_label_that_is_absent_has_nothing_to_remove():
    labels = np.ones((3, 3), dtype=np.uint8)
    np.testing.assert_array_equal(change_previous(labels, drawn(removal=[(2, 0.3)])), labels)
