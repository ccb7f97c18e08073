"""Connected components: neighbours over corners count, the first of equals is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnbox.imaging import components
from nnbox.imaging.components import component_counts, largest_component, largest_components
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.records.results import PostprocessingStep

_shapes = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8))


def count_components(labels, label):
    return component_counts(labels, label)[label - 1]


def test_voxels_that_touch_at_a_corner_are_one_component():
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = 1
    assert count_components(labels, 1) == 1
    labels[2, 2, 2] = 0
    labels[3, 1, 1] = 1
    assert count_components(labels, 1) == 2


def test_pixels_that_touch_at_a_corner_are_one_component_in_2d():
    labels = np.zeros((1, 4, 4), dtype=np.uint8)
    labels[0, 0, 0] = labels[0, 1, 1] = 2
    assert count_components(labels, 2) == 1
    assert count_components(labels, 1) == 0


def test_the_largest_component_of_a_label_is_kept_and_other_labels_stay():
    labels = np.array([[[1, 0, 1, 1, 0, 2, 0, 2]]], dtype=np.int16)
    assert largest_component(labels, 1).tolist() == [[[0, 0, 1, 1, 0, 2, 0, 2]]]
    assert largest_component(labels, 3).tolist() == labels.tolist()


def test_all_foreground_can_count_as_one():
    labels = np.array([[[1, 2, 0, 1, 1, 2, -1, 3]]], dtype=np.int16)
    assert largest_component(labels, None).tolist() == [[[0, 0, 0, 1, 1, 2, -1, 0]]]


def test_of_two_equal_components_the_first_in_array_order_is_kept():
    labels = np.zeros((2, 3, 3), dtype=np.uint8)
    labels[0, 0, 2] = 1
    labels[1, 2, 0] = 1
    expected = np.zeros_like(labels)
    expected[0, 0, 2] = 1
    assert np.array_equal(largest_component(labels, 1), expected)


def test_the_input_is_left_alone():
    labels = np.array([[[1, 0, 1, 1]]], dtype=np.uint8)
    before = labels.copy()
    largest_component(labels, 1)
    apply_postprocessing(labels, [PostprocessingStep(label=1)])
    assert np.array_equal(labels, before)


@settings(max_examples=60, deadline=None)
@given(shape=_shapes, share=st.floats(0.05, 0.6), seed=st.integers(0, 999))
def test_components_equal_those_of_scipy_on_the_whole_volume(shape, share, seed):
    labels = (np.random.default_rng(seed).random(shape) < share).astype(np.int16) * 2
    whole, count = ndimage.label(labels, structure=np.ones((3, 3, 3)))
    assert count_components(labels, 2) == count
    assert component_counts(labels, 2) == (0, count)
    kept = largest_component(labels, 2)
    if count:
        sizes = ndimage.sum_labels(np.ones(shape), whole, range(1, count + 1))
        first = [int(np.flatnonzero(whole.ravel() == number)[0]) for number in range(1, count + 1)]
        number = min(range(count), key=lambda index: (-sizes[index], first[index])) + 1
        assert np.array_equal(kept, np.where(whole == number, 2, 0))
    else:
        assert not kept.any()


@settings(max_examples=60, deadline=None)
@given(
    shape=_shapes,
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 999),
    dtype=st.sampled_from([np.uint8, np.int16, np.int32]),
)
def test_all_labels_at_once_equal_scipy_label_by_label_ties_included(shape, share, seed, dtype):
    rng = np.random.default_rng(seed)
    labels = ((rng.random(shape) < share) * rng.integers(1, 4, shape)).astype(dtype)
    if dtype != np.uint8:
        labels[rng.random(shape) < 0.1] = -1
    expected = labels.copy()
    for label in (1, 3):
        whole, _ = ndimage.label(labels == label, structure=np.ones((3, 3, 3)))
        # scipy numbers components by their first voxel, and argmax takes the first of equals.
        kept = 1 + int(np.argmax(np.bincount(whole.ravel(), minlength=2)[1:]))
        expected[(whole > 0) & (whole != kept)] = 0
    assert np.array_equal(largest_components(labels, (1, 3, 700)), expected)
    counts = [ndimage.label(labels == label, structure=np.ones((3, 3, 3)))[1] for label in (1, 2, 3, 4)]
    assert component_counts(labels, 4) == tuple(counts)


def test_a_view_in_another_order_is_treated_as_its_copy():
    labels = (np.random.default_rng(3).random((5, 6, 7)) < 0.3).astype(np.uint8).transpose(2, 0, 1)[:, ::-1]
    assert np.array_equal(largest_component(labels, 1), largest_component(labels.copy(), 1))


def test_a_map_of_several_slabs_is_treated_as_one(monkeypatch):
    labels = (np.random.default_rng(4).random((9, 8, 7)) < 0.25).astype(np.int16)
    expected, counts = largest_component(labels, 1), component_counts(labels, 1)
    monkeypatch.setattr(components, "_SLAB_VOX", 100)
    assert np.array_equal(largest_component(labels, 1), expected)
    assert component_counts(labels, 1) == counts


def test_steps_are_applied_in_order():
    labels = np.array([[[1, 1, 0, 2, 2, 2, 0, 1, 0, 2]]], dtype=np.uint8)
    step = {label: PostprocessingStep(label=label) for label in (0, 1, 2)}
    assert apply_postprocessing(labels, [step[1], step[2]]).tolist() == [[[1, 1, 0, 2, 2, 2, 0, 0, 0, 0]]]
    assert apply_postprocessing(labels, [step[0], step[1]]).tolist() == [[[0, 0, 0, 2, 2, 2, 0, 0, 0, 0]]]
    assert apply_postprocessing(labels, []).tolist() == labels.tolist()


@pytest.mark.parametrize("labels", [np.zeros((2, 2, 2), dtype=np.uint8), np.zeros((1, 3, 3), dtype=np.uint16)])
def test_a_map_without_foreground_stays_as_it_is(labels):
    assert np.array_equal(largest_component(labels, None), labels)
    assert component_counts(labels, 3) == (0, 0, 0)
