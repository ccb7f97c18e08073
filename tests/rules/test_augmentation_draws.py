"""10,000 drawn records within the statistical bounds of RULES.md §6, and the ranges a configuration gets."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from nnbox.recipes import RECIPE_2018, RECIPE_2019
from nnbox.records.dataset import Choices
from nnbox.rules.augmentation import AugmentationSpec, augmentation_spec, draw_augmentation, mirror_axes, slicewise_axis
from nnbox.rules.planning import make_plan

DRAWS = 10_000


@pytest.fixture(scope="module")
def draws():
    spec = AugmentationSpec(
        dimension=3,
        slice_axis=None,
        alpha=(0.0, 900.0),
        angle_rad=math.radians(15),
        channels=2,
        mirror_axes=(0, 1, 2),
        previous_labels=3,
    )
    rng = np.random.default_rng(10_000)
    return [draw_augmentation(rng, spec=spec) for _ in range(DRAWS)]


def _is_share(count, share, of=DRAWS):
    """Five standard deviations: wrong once in two million."""
    return abs(count - share * of) < 5 * math.sqrt(of * share * (1 - share))


def _is_uniform(values, low, high):
    """Within the range, and quarters of it equally full."""
    assert min(values) >= low
    assert max(values) <= high
    counts = np.histogram(values, bins=4, range=(low, high))[0]
    return all(_is_share(int(count), 0.25, of=len(values)) for count in counts)


def test_elastic_deformation_has_probability_a_fifth(draws):
    drawn = [draw.elastic for draw in draws if draw.elastic]
    assert _is_share(len(drawn), 0.2)
    assert _is_uniform([elastic.alpha for elastic in drawn], 0, 900)
    assert _is_uniform([elastic.sigma for elastic in drawn], 9, 13)
    assert len({elastic.noise_seed for elastic in drawn}) == len(drawn)


def test_rotation_has_probability_a_fifth_and_15_degrees_either_way_about_every_axis(draws):
    drawn = [draw.angles_rad for draw in draws if draw.angles_rad]
    assert _is_share(len(drawn), 0.2)
    assert all(len(angles) == 3 for angles in drawn)
    for axis in range(3):
        assert _is_uniform([math.degrees(angles[axis]) for angles in drawn], -15, 15)


def test_scaling_has_probability_a_fifth_half_smaller_half_larger(draws):
    drawn = [draw.scale for draw in draws if draw.scale is not None]
    assert _is_share(len(drawn), 0.2)
    smaller = [scale for scale in drawn if scale < 1]
    assert _is_share(len(smaller), 0.5, of=len(drawn))
    assert _is_uniform(smaller, 0.85, 1)
    assert _is_uniform([scale for scale in drawn if scale >= 1], 1, 1.25)


def test_gamma_has_probability_three_tenths_for_each_channel_by_itself(draws):
    for channel in range(2):
        drawn = [draw.gammas[channel] for draw in draws if draw.gammas[channel] is not None]
        assert _is_share(len(drawn), 0.3)
        darker = [gamma for gamma in drawn if gamma < 1]
        assert _is_share(len(darker), 0.5, of=len(drawn))
        assert _is_uniform(darker, 0.7, 1)
        assert _is_uniform([gamma for gamma in drawn if gamma >= 1], 1, 1.5)
    assert _is_share(sum(None not in draw.gammas for draw in draws), 0.09)


def test_each_axis_is_mirrored_half_of_the_time(draws):
    for axis in range(3):
        assert _is_share(sum(axis in draw.mirror_axes for draw in draws), 0.5)
    assert _is_share(sum(len(draw.mirror_axes) == 3 for draw in draws), 0.125)


def test_the_transforms_are_independent_of_each_other(draws):
    assert _is_share(sum(bool(draw.elastic) and bool(draw.angles_rad) for draw in draws), 0.04)
    assert _is_share(sum(bool(draw.angles_rad) and draw.scale is not None for draw in draws), 0.04)
    assert _is_share(sum(bool(draw.elastic) and draw.gammas[0] is not None for draw in draws), 0.06)
    assert _is_share(sum(bool(draw.mask_operations) and bool(draw.removal) for draw in draws), 0.08)


def test_masks_of_a_previous_stage_change_with_probability_two_fifths(draws):
    drawn = [draw.mask_operations for draw in draws if draw.mask_operations]
    assert _is_share(len(drawn), 0.4)
    assert all(sorted(operation.label for operation in operations) == [1, 2, 3] for operations in drawn)
    orders = Counter(tuple(operation.label for operation in operations) for operations in drawn)
    assert len(orders) == 6
    assert all(_is_share(count, 1 / 6, of=len(drawn)) for count in orders.values())
    singles = [operation for operations in drawn for operation in operations]
    operators = Counter(operation.operator for operation in singles)
    assert set(operators) == {"dilation", "erosion", "opening", "closing"}
    assert all(_is_share(count, 0.25, of=len(singles)) for count in operators.values())
    radii = Counter(operation.radius_vox for operation in singles)
    assert set(radii) == set(range(1, 9))
    assert all(_is_share(count, 0.125, of=len(singles)) for count in radii.values())


def test_a_component_of_a_previous_stage_is_removed_with_probability_a_fifth(draws):
    drawn = [draw.removal for draw in draws if draw.removal]
    assert _is_share(len(drawn), 0.2)
    assert all(len(removal) == 1 for removal in drawn)
    labels = Counter(removal[0][0] for removal in drawn)
    assert set(labels) == {1, 2, 3}
    assert all(_is_share(count, 1 / 3, of=len(drawn)) for count in labels.values())
    assert _is_uniform([removal[0][1] for removal in drawn], 0, 1)


def test_without_a_previous_stage_no_mask_changes(draws):
    spec = AugmentationSpec(
        dimension=2,
        slice_axis=None,
        alpha=(0.0, 200.0),
        angle_rad=math.pi,
        channels=1,
        mirror_axes=(),
        previous_labels=0,
    )
    rng = np.random.default_rng(1)
    drawn = [draw_augmentation(rng, spec=spec) for _ in range(500)]
    assert all(not draw.mask_operations and not draw.removal and not draw.mirror_axes for draw in drawn)
    angles = [draw.angles_rad for draw in drawn if draw.angles_rad]
    assert all(len(angle) == 1 for angle in angles)
    assert max(abs(math.degrees(angle[0])) for angle in angles) > 90
    assert max(draw.elastic.alpha for draw in drawn if draw.elastic) <= 200


def test_the_same_generator_gives_the_same_record():
    spec = AugmentationSpec(
        dimension=3, slice_axis=0, alpha=(0.0, 200.0), angle_rad=1.0, channels=1, mirror_axes=(0,), previous_labels=2
    )
    first, second = (draw_augmentation(np.random.default_rng(7), spec=spec) for _ in range(2))
    assert first == second
    assert spec.spatial_axes == (1, 2)


def _spec(make_fingerprint, name, *, shape=(128, 128, 128), spacing=(1.0, 1.0, 1.0), choices=None, recipe="2019"):
    fingerprint = make_fingerprint(shape, spacing, cases=10, channels=("a", "b"))
    plan = make_plan(fingerprint, recipe=recipe, choices=choices or Choices())
    return augmentation_spec(plan.configuration(name), plan)


def test_a_volume_gets_the_3d_ranges(make_fingerprint):
    spec = _spec(make_fingerprint, "3d_fullres")
    assert (spec.dimension, spec.slice_axis, spec.alpha) == (3, None, (0.0, 900.0))
    assert spec.angle_rad == pytest.approx(math.radians(15))
    assert (spec.channels, spec.mirror_axes, spec.previous_labels) == (2, (0, 1, 2), 0)


def test_a_plane_turns_freely_unless_it_is_narrow(make_fingerprint):
    square = _spec(make_fingerprint, "2d")
    assert (square.dimension, square.alpha, square.mirror_axes) == (2, (0.0, 200.0), (0, 1))
    assert square.angle_rad == pytest.approx(math.pi)
    # 96 x 64 is exactly 1.5; 128 x 64 is more.
    assert _spec(make_fingerprint, "2d", shape=(64, 96, 64)).angle_rad == pytest.approx(math.pi)
    assert _spec(make_fingerprint, "2d", shape=(64, 128, 64)).angle_rad == pytest.approx(math.radians(15))


def test_a_flat_patch_is_augmented_in_plane_with_the_2d_ranges(make_fingerprint):
    spec = _spec(make_fingerprint, "3d_fullres", shape=(16, 160, 160), spacing=(8.0, 1.0, 1.0))
    assert spec.slice_axis == 0
    assert spec.spatial_axes == (1, 2)
    assert spec.alpha == (0.0, 200.0)
    assert spec.angle_rad == pytest.approx(math.pi)
    assert spec.mirror_axes == (0, 1, 2)


def test_the_second_stage_of_a_cascade_changes_the_labels_of_the_first(make_fingerprint):
    spec = _spec(make_fingerprint, "3d_cascade", shape=(300, 300, 300))
    assert (spec.channels, spec.previous_labels) == (2, 2)


@pytest.mark.parametrize(
    ("patch_vox", "in_2018", "in_2019"),
    [
        ((32, 64, 64), None, None),  # exactly 2 x
        ((31, 64, 64), 0, None),
        ((64, 64, 31), 2, None),  # 2018: along the shortest; 2019: only the first axis counts
        ((20, 60, 60), 0, None),  # exactly 3 x
        ((20, 64, 61), 0, 0),
        ((64, 20, 64), 1, None),
    ],
)
def test_where_a_patch_is_augmented_slice_by_slice(patch_vox, in_2018, in_2019):
    assert slicewise_axis(patch_vox, RECIPE_2018) == in_2018
    assert slicewise_axis(patch_vox, RECIPE_2019) == in_2019


def test_mirror_axes_are_named_in_the_order_of_the_source(make_fingerprint):
    fingerprint = make_fingerprint((100, 100, 30), (1.0, 1.0, 4.0), cases=3)
    plan = make_plan(fingerprint, recipe="2019", choices=Choices(mirror_axes=("x", "z")))
    # Working order is x, z, y.
    assert plan.axis_order == (2, 0, 1)
    assert mirror_axes(plan, 3) == (0, 1)
    assert mirror_axes(plan, 2) == (0,)
    everywhere = replace(plan, choices=Choices())
    assert (mirror_axes(everywhere, 3), mirror_axes(everywhere, 2)) == ((0, 1, 2), (0, 1))
    assert mirror_axes(replace(plan, choices=Choices(mirror_axes=())), 3) == ()
