"""Scores against the surface-distance package, by hand, and each empty case by name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from surface_distance import metrics

from nnbox.evaluation.scores import dice_of_case, score_case, score_masks
from nnbox.evaluation.surface import SurfaceDistances, hausdorff95_mm, surface_distances

_SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.5, 1.3, 2.1)]


def _package(reference, prediction, spacing_mm, tolerance_mm):
    if reference.shape[0] == 1:
        reference, prediction, spacing_mm = reference[0], prediction[0], spacing_mm[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it reaches for an old scipy namespace
        distances = metrics.compute_surface_distances(reference, prediction, spacing_mm)
    return (
        metrics.compute_dice_coefficient(reference, prediction),
        metrics.compute_surface_dice_at_tolerance(distances, tolerance_mm),
        metrics.compute_robust_hausdorff(distances, 95),
    )


def _assert_equal_to_the_package(reference, prediction, spacing_mm, tolerance_mm):
    ours = score_masks(reference, prediction, spacing_mm, tolerance_mm, flat=reference.shape[0] == 1)
    theirs = _package(reference, prediction, spacing_mm, tolerance_mm)
    np.testing.assert_allclose((ours.dice, ours.surface_dice, ours.hd95_mm), theirs, rtol=0, atol=1e-6)


def _pair(shape, seed):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    other = field + 0.5 * ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    return field > 0.02, other > 0.03


@pytest.mark.parametrize("spacing_mm", _SPACINGS)
@pytest.mark.parametrize("shape", [(14, 18, 16), (1, 40, 31), (3, 20, 20)])
@pytest.mark.parametrize("tolerance_mm", [0.0, 1.0, 2.4])
def test_smooth_masks_score_as_by_the_package(shape, spacing_mm, tolerance_mm):
    for seed in range(2):
        _assert_equal_to_the_package(*_pair(shape, seed), spacing_mm, tolerance_mm)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("spacing_mm", _SPACINGS)
def test_noise_scores_as_by_the_package(share, spacing_mm):
    rng = np.random.default_rng(5)
    for shape in ((8, 9, 10), (1, 12, 15), (1, 1, 9), (6, 1, 1)):
        reference, prediction = rng.random((2, *shape)) < share
        reference.flat[0] = prediction.flat[-1] = True
        _assert_equal_to_the_package(reference, prediction, spacing_mm, 1.5)


def _voxel(shape, *where):
    mask = np.zeros(shape, dtype=bool)
    mask[where] = True
    return mask


@pytest.mark.parametrize(
    ("reference", "prediction"),
    [
        (_voxel((5, 5, 5), 0, 0, 0), _voxel((5, 5, 5), 4, 4, 4)),
        (_voxel((5, 5, 5), 2, 2, 2), np.ones((5, 5, 5), dtype=bool)),
        (np.ones((4, 4, 4), dtype=bool), np.ones((4, 4, 4), dtype=bool)),
        (_voxel((5, 5, 5), 2), _voxel((5, 5, 5), slice(None), 2)),
        (_voxel((1, 6, 6), 0, 1, 1), _voxel((1, 6, 6), 0, 4)),
        (np.indices((4, 4, 4)).sum(axis=0) % 2 == 0, np.indices((4, 4, 4)).sum(axis=0) % 2 == 1),
    ],
    ids=["two voxels", "voxel in block", "equal blocks", "crossing sheets", "pixel and line", "checkerboards"],
)
def test_degenerate_masks_score_as_by_the_package(reference, prediction):
    for spacing_mm in _SPACINGS:
        _assert_equal_to_the_package(reference, prediction, spacing_mm, 1.0)


def _score(reference, prediction, label_count=1):
    shape = (1, 1, len(reference))
    arrays = (np.array(values, dtype=np.int16).reshape(shape) for values in (reference, prediction))
    return score_case("a", *arrays, (1.0, 1.0, 1.0), label_count, 1.0).labels


def test_absent_from_both_is_undefined():
    (label,) = _score([0, 0, 0], [0, 0, 0])
    assert (label.dice, label.surface_dice, label.hd95_mm) == (None, None, None)
    assert (label.reference_voxels, label.predicted_voxels) == (0, 0)


def test_absent_from_the_reference_but_predicted_is_zero_without_a_distance():
    (label,) = _score([0, 0, 0], [0, 1, 1])
    assert (label.dice, label.surface_dice, label.hd95_mm) == (0.0, 0.0, None)
    assert (label.reference_voxels, label.predicted_voxels) == (0, 2)


def test_present_in_the_reference_but_not_predicted_is_zero_without_a_distance():
    (label,) = _score([1, 1, 0], [0, 0, 0])
    assert (label.dice, label.surface_dice, label.hd95_mm) == (0.0, 0.0, None)
    assert (label.reference_voxels, label.predicted_voxels) == (2, 0)


def test_dice_by_hand_for_each_label_and_outside_counts_as_background():
    first, second, third = _score([1, 1, 1, 2, -1, 0], [1, 1, 2, 2, 1, -1], label_count=3)
    assert first.dice == 2 * 2 / (3 + 3)
    assert second.dice == 2 * 1 / (1 + 2)
    assert third.dice is None


def test_no_labels_no_scores():
    assert _score([0, 1], [1, 0], label_count=0) == ()


def test_two_planes_three_slices_apart():
    reference, prediction = (np.zeros((9, 6, 6), dtype=np.uint8) for _ in range(2))
    reference[:3], prediction[:6] = 1, 1
    scores = score_case("a", reference, prediction, (2.0, 1.0, 1.0), 1, 6.0).labels[0]
    assert scores.surface_dice == 1.0
    assert scores.hd95_mm == pytest.approx(6.0)
    assert score_case("a", reference, prediction, (2.0, 1.0, 1.0), 1, 5.9).labels[0].surface_dice < 1.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), spacing=st.sampled_from(_SPACINGS), axis=st.integers(0, 2))
def test_scores_do_not_depend_on_order_of_arguments_mirroring_or_margin(seed, spacing, axis):
    rng = np.random.default_rng(seed)
    reference, prediction = rng.random((2, 5, 6, 7)) < 0.2
    reference[2, 2, 2] = prediction[3, 3, 3] = True
    one = score_masks(reference, prediction, spacing, 1.0, flat=False)
    swapped = score_masks(prediction, reference, spacing, 1.0, flat=False)
    mirrored = score_masks(np.flip(reference, axis), np.flip(prediction, axis), spacing, 1.0, flat=False)
    padded = score_masks(np.pad(reference, 3), np.pad(prediction, 3), spacing, 1.0, flat=False)
    for other in (swapped, mirrored, padded):
        assert other.dice == one.dice
        assert other.surface_dice == pytest.approx(one.surface_dice, abs=1e-9)
        assert other.hd95_mm == pytest.approx(one.hd95_mm, abs=1e-9)


def test_hd95_is_the_larger_percentile_with_elements_weighted_by_size():
    steps, ones = np.arange(1000.0), np.ones(1000)
    even = SurfaceDistances(reference_mm=steps, reference_sizes=ones, predicted_mm=steps[:9], predicted_sizes=ones[:9])
    assert hausdorff95_mm(even) == 949
    heavy = np.where(steps == 10, 1e6, 1.0)
    uneven = SurfaceDistances(
        reference_mm=steps, reference_sizes=heavy, predicted_mm=steps[:9], predicted_sizes=ones[:9]
    )
    assert hausdorff95_mm(uneven) == 10


def test_a_perfect_prediction_scores_one_and_no_distance():
    reference, _ = _pair((8, 9, 10), 3)
    scores = score_masks(reference, reference.copy(), (2.0, 1.0, 1.0), 0.0, flat=False)
    assert (scores.dice, scores.surface_dice, scores.hd95_mm) == (1.0, 1.0, 0.0)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="case_7"):
        score_case("case_7", np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int), (1.0, 1.0, 1.0), 1, 1.0)


def test_an_empty_mask_has_no_surface():
    with pytest.raises(ValueError, match="no surface"):
        surface_distances(np.zeros((2, 2, 2), dtype=bool), np.ones((2, 2, 2), dtype=bool), (1.0, 1.0, 1.0))


def test_a_label_of_one_slice_in_a_volume_is_measured_as_a_volume():
    reference = np.zeros((6, 12, 12), int)
    prediction = np.zeros((6, 12, 12), int)
    reference[2, 3:9, 3:9] = 1
    prediction[2, 4:9, 3:10] = 1
    spacing = (3.0, 1.0, 1.0)
    ours = score_case("case", reference, prediction, spacing, 1, 1.0).labels[0]
    theirs = _package(reference == 1, prediction == 1, spacing, 1.0)
    np.testing.assert_allclose((ours.dice, ours.surface_dice, ours.hd95_mm), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_dice_alone_is_the_dice_of_the_full_scores(seed):
    rng = np.random.default_rng(seed)
    reference, prediction = rng.integers(0, 4, (2, 5, 6, 7))
    prediction[prediction == 3] = 0
    full = score_case("case", reference, prediction, (1.0, 1.0, 1.0), 4, 1.0)
    assert dice_of_case(reference, prediction, 4) == tuple(label.dice for label in full.labels)
