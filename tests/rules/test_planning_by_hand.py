"""Planning rules that no table pins, on cases whose outcome is worked out by hand from RULES.md §2 and §4."""

from __future__ import annotations

import pytest

from nnbox.records.dataset import Choices
from nnbox.rules.budget import cap_batch, memory_proxy
from nnbox.rules.cascade import (
    coarsen_2018,
    coarsen_2019,
    keeps_low_resolution,
    needs_cascade_2018,
    needs_cascade_2019,
    search_low_resolution,
)
from nnbox.rules.loss import uses_batch_dice
from nnbox.rules.patch_2018 import round_patch_2018, shrink_patch_2018, start_patch_2018
from nnbox.rules.patch_2019 import shrink_patch_2019, start_patch_2019
from nnbox.rules.patch_2021 import pool_2021, shrink_patch_2021
from nnbox.rules.planning import make_plan
from nnbox.rules.spacing import median_shape, rounded_shape, target_spacing, target_spacing_2021
from nnbox.rules.topology import (
    choose_features,
    kernels_2018,
    kernels_2019,
    kernels_2021,
    late_pooling,
    pad_to_divisible,
    pool_by_spacing,
    pools_2018,
    pools_2019,
)


def _plan(fingerprint, recipe):
    return make_plan(fingerprint, recipe=recipe, choices=Choices())


# Spacing and shape


def test_the_target_spacing_is_the_median_of_each_axis():
    assert target_spacing([(1.0, 5.0, 1.0), (2.0, 4.0, 1.0), (9.0, 3.0, 1.5), (3.0, 1.0, 2.0)]) == (2.5, 3.5, 1.25)


def test_2021_takes_the_10th_percentile_of_a_very_coarse_axis():
    # z spacings 1 … 10 mm: median 5.5 > 3 x 1; 20 voxels < 100 / 3. The 10th percentile of 1 … 10 is 1 + 0.9.
    spacings = [(float(z), 1.0, 0.5) for z in range(1, 11)]
    shapes = [(20, 100, 200)] * 10
    assert target_spacing_2021(spacings, shapes) == pytest.approx((1.9, 1.0, 0.5))
    assert target_spacing(spacings) == (5.5, 1.0, 0.5)


def test_the_10th_percentile_is_not_finer_than_the_other_axes():
    spacings = [(z, 1.0, 1.0) for z in (0.5, 0.5, 4.0, 4.0, 4.0)]
    assert target_spacing_2021(spacings, [(20, 100, 100)] * 5) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("z_mm", "z_vox"), [(3.0, 20), (4.0, 34), (3.0, 34)])
def test_2021_keeps_the_median_of_an_axis_that_is_not_both_coarse_and_short(z_mm, z_vox):
    # Exactly 3 x coarser, or not less than a third of 100 voxels, is not enough.
    spacings = [(z_mm, 1.0, 1.0)] * 4 + [(z_mm - 1.5, 1.0, 1.0)]
    assert target_spacing_2021(spacings, [(z_vox, 100, 100)] * 5) == (z_mm, 1.0, 1.0)


def test_only_the_2021_plan_uses_the_10th_percentile(make_fingerprint):
    spacings = [(float(z), 1.0, 1.0) for z in range(1, 11)]
    fingerprint = make_fingerprint([(20, 100, 100)] * 10, spacings)
    assert _plan(fingerprint, "2019").configuration("3d_fullres").spacing_mm == (5.5, 1.0, 1.0)
    assert _plan(fingerprint, "2021").configuration("3d_fullres").spacing_mm == pytest.approx((1.9, 1.0, 1.0))


def test_the_median_shape_is_taken_over_unrounded_shapes_and_rounded_half_to_even():
    shapes, spacings = [(10, 11, 3), (11, 14, 4)], [(1.0, 1.0, 1.0), (1.0, 1.0, 1.0)]
    assert median_shape(shapes, spacings, (1.0, 1.0, 1.0)) == (10.5, 12.5, 3.5)
    assert rounded_shape((10.5, 12.5, 3.5)) == (10, 12, 4)
    assert rounded_shape((0.2, 0.5, 1.5)) == (1, 1, 2)
    assert median_shape([(10, 10, 10)], [(3.0, 1.0, 1.0)], (2.0, 2.0, 1.0)) == (15.0, 5.0, 10.0)


# Poolings, strides, kernels, features


def test_2018_halves_rounding_up_while_8_or_more():
    # 15 -> 8 -> 4, 16 -> 8 -> 4, 17 -> 9 -> 5, 7 stays; caps 6 and 5.
    assert [pools_2018(size, 6) for size in (7, 8, 15, 16, 17, 10_000)] == [0, 1, 2, 2, 2, 6]
    assert pools_2018(10_000, 5) == 5


def test_2019_counts_the_halvings_down_to_4_without_a_cap():
    assert [pools_2019(size) for size in (1, 4, 7, 8, 15, 16, 512, 4096)] == [0, 0, 0, 1, 1, 2, 7, 10]


def test_an_axis_with_fewer_poolings_starts_later():
    assert late_pooling((1, 3, 2)).strides == ((1, 2, 1), (1, 2, 2), (2, 2, 2))
    assert late_pooling((0, 0, 0)).strides == ()


def test_a_plane_at_1_9_pools_apart_in_2019_and_together_in_2021():
    # 1.9 mm is not below 1.8 x 1 mm, but below 2 x 1 mm.
    in_2019 = pool_by_spacing((64, 64), (1.9, 1.0), ratio=1.8, round_up=False)
    assert in_2019.strides == ((1, 2), (2, 2), (2, 2), (2, 2), (2, 1))
    assert pool_2021((64, 64), (1.9, 1.0)).strides == ((2, 2),) * 4


def test_the_plans_use_these_ratios(make_fingerprint):
    fingerprint = make_fingerprint((40, 64, 64), (4.0, 1.9, 1.0), cases=10)
    assert _plan(fingerprint, "2019").configuration("2d").topology.strides[1] == (1, 2)
    assert _plan(fingerprint, "2021").configuration("2d").topology.strides[1] == (2, 2)


def test_sizes_are_halved_exactly_in_2019_and_rounded_up_in_2021():
    # 232 exactly: 116, 58, 29, 14.5, 7.25: 5 poolings. Rounded up: 116, 58, 29, 15, 8, 4: 6.
    assert pool_by_spacing((232, 232), (1.0, 1.0), ratio=1.8, round_up=False).per_axis == (5, 5)
    assert pool_2021((232, 232), (1.0, 1.0)).per_axis == (6, 6)


def test_an_axis_too_small_to_pool_still_holds_the_others_back_in_2021():
    # The 6 voxels of the fine axis are never pooled; the other two stop once they are twice as coarse.
    pooling = pool_2021((6, 256, 256), (1.0, 1.0, 1.0))
    assert pooling.per_axis == (0, 1, 1)


def test_kernels_of_a_coarse_axis_are_1_until_the_others_have_caught_up():
    # 5, 1, 1 mm; half of the largest is 2.5: levels at 1 and 2 mm in plane are unreached, at 4 mm all are reached.
    pooling = late_pooling((1, 3, 3))
    assert kernels_2019(pooling, (5.0, 1.0, 1.0)) == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert kernels_2018(pooling) == ((3, 3, 3),) * 4
    assert kernels_2021(pooling, (5.0, 1.0, 1.0)) == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))


def test_exactly_half_of_the_largest_spacing_is_not_reached():
    assert kernels_2019(late_pooling((0, 1, 1)), (2.0, 1.0, 1.0))[0] == (1, 3, 3)
    assert kernels_2019(late_pooling((0, 1, 1)), (1.99, 1.0, 1.0))[0] == (3, 3, 3)


def test_a_middle_axis_tells_the_kernel_rules_apart():
    # 4, 2.5, 1 mm. 2019: above 2 mm are 4 and 2.5. 2021: not below 2 x 1 mm are the same. One pooling of x later
    # (4, 2.5, 2): 2019 still leaves x unreached (2 is not above 2); 2021 asks for below 4 mm: y and x.
    pooling = late_pooling((0, 1, 2))
    assert kernels_2019(pooling, (4.0, 2.5, 1.0)) == ((1, 1, 3), (1, 1, 3), (3, 3, 3))
    assert kernels_2021(pooling, (4.0, 2.5, 1.0)) == ((1, 1, 3), (1, 3, 3), (3, 3, 3))


def test_the_bottleneck_has_kernel_3_even_without_poolings():
    assert kernels_2019(late_pooling((0, 0, 0)), (9.0, 1.0, 1.0)) == ((3, 3, 3),)


def test_features_double_up_to_the_cap(make_fingerprint):
    assert choose_features(6, first=30, cap=320) == (30, 60, 120, 240, 320, 320)
    fingerprint = make_fingerprint((128, 512, 512), (1.0, 1.0, 1.0), cases=20)
    for recipe, plane, volume in (
        ("2018", (30, 60, 120, 240, 480, 480, 480), (30, 60, 120, 240, 320, 320)),
        ("2019", (30, 60, 120, 240, 480, 480, 480, 480), (30, 60, 120, 240, 320, 320)),
        ("2021", (32, 64, 128, 256, 512, 512, 512, 512), (32, 64, 128, 256, 320, 320)),
    ):
        plan = _plan(fingerprint, recipe)
        assert plan.configuration("2d").topology.features == plane
        found = plan.configuration("3d_fullres").topology.features
        assert len(found) >= 5
        assert found == volume[: len(found)]


# Memory, batch


def test_the_memory_proxy_counts_maps_channels_and_classes_with_background():
    # 64 voxels · (5·30 + 1 channel + 2 classes) + the last level: 2 · 16 voxels · 60 features.
    assert memory_proxy((8, 8), [(2, 2)], first=30, cap=480, channels=1, classes=2) == 64 * 153 + 2 * 16 * 60
    # A level between has 5 maps; features are capped.
    three = memory_proxy((16, 16), [(2, 2), (2, 2)], first=30, cap=70, channels=4, classes=3)
    assert three == 256 * (150 + 4 + 3) + 5 * 64 * 60 + 2 * 16 * 70
    assert memory_proxy((16, 8), [(2, 1)], first=30, cap=480, channels=1, classes=2) == 128 * 153 + 2 * 64 * 60


def test_the_plan_counts_the_background_as_a_class(make_fingerprint):
    fingerprint = make_fingerprint((16, 16, 16), (1.0, 1.0, 1.0), cases=3, channels=("T1", "T2"), labels=3)
    plan = _plan(fingerprint, "2019")
    (patch,) = (decision for decision in plan.decisions if decision.subject == "3d_fullres.patch_size")
    # 16³ voxels, two poolings: 150 + 2 channels + 3 labels and background.
    assert patch.inputs["cost"] == 4096 * (150 + 2 + 4) + 5 * 512 * 60 + 2 * 64 * 120
    assert plan.configuration("3d_fullres").topology.classes == 4


def test_a_batch_sees_at_most_5_percent_of_the_data():
    # 0.05 · 1000 · 1 / 20 = 2.5: half up 3 (2018), half to even 2 (2019).
    assert cap_batch(10, 20, stage_voxels=1000, cases=1, half_up=True) == (3, 3)
    assert cap_batch(10, 20, stage_voxels=1000, cases=1, half_up=False) == (2, 2)
    assert cap_batch(10, 20, stage_voxels=1000, cases=100, half_up=True) == (10, 250)
    assert cap_batch(10, 1000, stage_voxels=1000, cases=1, half_up=True) == (2, 0)


# Patches


def test_2018_starts_with_128_voxels_spread_by_length_in_mm():
    # Lengths 100, 200, 400 mm, mean 200: 64, 128, 256; the last is clipped to its 200 voxels.
    start = start_patch_2018((1.0, 1.0, 2.0), (100, 200, 200), 128.0)
    assert start == pytest.approx((64, 128, 200))


def test_2018_pads_clipped_axes_up_and_rounds_the_others():
    assert round_patch_2018((44.0, 100.0, 44.0), (44, 200, 90), (16, 16, 16)) == (48, 96, 48)


def test_2018_shrinks_the_longest_axis_the_last_one_on_ties():
    assert shrink_patch_2018((160, 192, 192), (5, 5, 5)) == ((160, 192, 160), (5, 5, 5))
    # A bottleneck below 4 voxels costs a pooling.
    assert shrink_patch_2018((8, 16, 16), (1, 2, 2)) == ((8, 16, 12), (1, 2, 1))
    assert shrink_patch_2018((1, 1, 1), (0, 0, 0)) is None


def test_2019_starts_with_512_voxels_on_the_coarse_axis_clipped_to_the_median():
    assert start_patch_2019((4.0, 1.0, 2.0), (600, 3000, 900)) == (512, 2048, 900)


def test_2019_takes_the_whole_divisor_or_half_of_it_near_the_bottom():
    # Largest ratio: the last axis on ties; 64 / 16 is 4 or less, so half of 16.
    assert shrink_patch_2019((64, 64, 64), (64, 64, 64), (8, 8, 8)) == (64, 64, 56)
    assert shrink_patch_2019((64, 64, 64), (64, 64, 64), (16, 16, 16)) == (64, 64, 56)
    assert shrink_patch_2019((64, 80, 64), (64, 100, 64), (8, 8, 16)) == (64, 80, 56)
    assert shrink_patch_2019((5, 64, 64), (1, 64, 64), (1, 8, 8)) == (4, 64, 64)


def test_2021_takes_what_the_smaller_patch_is_divisible_by():
    def derive(patch_vox):
        return pool_2021(patch_vox, (1.0, 1.0, 1.0))

    # On trial 128 less 32 is 96, which has 4 poolings (96, 48, 24, 12, 6), so only 16 are taken off.
    assert pool_2021((128, 128, 96), (1.0, 1.0, 1.0)).per_axis == (5, 5, 4)
    assert shrink_patch_2021((128, 128, 128), (200, 200, 200), (32, 32, 32), derive) == (128, 128, 112)


# Cascade


def test_the_cascade_triggers_differ_at_equality():
    assert not needs_cascade_2018(4 * 128**3, 128**3)
    assert needs_cascade_2018(4 * 128**3 + 1, 128**3)
    assert needs_cascade_2019(4 * 64 * 192 * 160, 64 * 192 * 160)
    assert not needs_cascade_2019(4 * 64 * 192 * 160 - 1, 64 * 192 * 160)


def test_2018_doubles_the_fine_axes_first():
    assert coarsen_2018((4.0, 2.0, 1.9)) == (4.0, 4.0, 3.8)
    assert coarsen_2018((4.0, 2.1, 2.1)) == (8.0, 4.2, 4.2)


def test_2019_raises_the_fine_axes_by_1_percent_first():
    assert coarsen_2019((4.0, 2.0, 1.9)) == pytest.approx((4.0, 2.0, 1.919))
    assert coarsen_2019((4.0, 2.0, 2.0)) == pytest.approx((4.04, 2.02, 2.02))


def test_the_search_stops_at_the_first_step_that_holds():
    found = search_low_resolution((8.0, 8.0, 8.0), (1.0, 1.0, 1.0), coarsen=coarsen_2018, limit=lambda _: 64.0)
    assert found == (2.0, 2.0, 2.0)


def test_a_median_that_only_rounding_lifts_over_the_limit_is_coarsened_once(make_fingerprint):
    # Median 203 x 203 x 203.5: 8,386,031 voxels unrounded, below 4 · 128³; rounded to 204: 8,406,636, above it.
    plan = _plan(make_fingerprint([(203, 203, 203), (203, 203, 204)], (1.0, 1.0, 1.0)), "2018")
    assert plan.configuration("3d_fullres").median_shape == (203, 203, 204)
    assert plan.configuration("3d_lowres").spacing_mm == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("recipe", ["2018", "2019", "2021"])
def test_a_plane_too_large_for_a_batch_of_two_is_shrunk(make_fingerprint, recipe):
    fingerprint = make_fingerprint((1, 4000, 3000), (1.0, 1.0, 1.0), cases=50, dimension=2)
    plane = _plan(fingerprint, recipe).configuration("2d")
    assert plane.median_shape == (4000, 3000)
    assert plane.batch_size == 2
    height, width = plane.patch_size
    cost, most = height * width, 42 * 256**2
    if recipe != "2018":
        strides = plane.topology.strides[1:]
        cost = memory_proxy(plane.patch_size, strides, first=30, cap=480, channels=1, classes=3)
        most = 50 * 19_739_648
    # Two fit, and what was taken off is little: three quarters of the budget at least are used.
    assert 0.75 * most < 2 * cost <= most


def test_a_low_resolution_is_kept_only_if_it_saves_enough():
    assert not keeps_low_resolution(150, 100, 1.5)
    assert keeps_low_resolution(151, 100, 1.5)
    assert not keeps_low_resolution(151, 100, 2.0)


@pytest.mark.parametrize(
    ("edge", "recipes"),
    # 7,864,320 voxels are the trigger of 2019 and its low resolution. 200³ exceeds it, but 1.5 x 7.8 M > 8 M; 235³ is
    # 13 M > 1.5 x 7.8 M. 2018 has no such factor: 8 x fewer voxels are always kept; its trigger is 8,388,608.
    [(198, set()), (200, set()), (204, {"2018"}), (235, {"2018", "2019"})],
)
def test_the_cascade_of_a_cube(make_fingerprint, edge, recipes):
    fingerprint = make_fingerprint((edge, edge, edge), (1.0, 1.0, 1.0), cases=10)
    found = {recipe for recipe in ("2018", "2019") if len(_plan(fingerprint, recipe).configurations) == 4}
    assert found == recipes


def test_2021_limits_the_low_resolution_to_four_patches_of_its_own_and_halves(make_fingerprint):
    plan = _plan(make_fingerprint((300, 300, 300), (1.0, 1.0, 1.0), cases=10), "2021")
    low = plan.configuration("3d_lowres")
    voxels, patch = low.median_shape[0] ** 3, low.patch_size[0] * low.patch_size[1] * low.patch_size[2]
    assert voxels <= 4 * patch
    # One step of 1 % finer would be too much.
    assert (low.median_shape[0] * 1.02) ** 3 > 4 * patch
    assert 2 * voxels < 300**3


def test_the_second_stage_reads_the_first_stage_as_further_channels(make_fingerprint):
    plan = _plan(make_fingerprint((300, 300, 300), (1.0, 1.0, 1.0), cases=10, labels=3), "2019")
    full, cascade = plan.configuration("3d_fullres"), plan.configuration("3d_cascade")
    assert cascade.previous == "3d_lowres"
    assert cascade.store == "3d_fullres"
    assert (full.topology.input_channels, cascade.topology.input_channels) == (1, 4)
    assert cascade.patch_size == full.patch_size
    assert [item.name for item in plan.configurations if item.full_resolution] == ["2d", "3d_fullres", "3d_cascade"]


def test_the_dice_is_per_sample_where_the_network_sees_nearly_the_whole_patient(make_fingerprint):
    names = ("2d", "3d_fullres", "3d_lowres", "3d_cascade")
    assert [uses_batch_dice(name, cascade=True) for name in names] == [True, True, False, True]
    assert [uses_batch_dice(name, cascade=False) for name in names[:2]] == [True, False]
    small = _plan(make_fingerprint((40, 40, 40), (1.0, 1.0, 1.0), cases=3), "2018")
    assert [item.batch_dice for item in small.configurations] == [True, False]
    large = _plan(make_fingerprint((300, 300, 300), (1.0, 1.0, 1.0), cases=3), "2018")
    assert [item.batch_dice for item in large.configurations] == [True, True, False, True]


def test_padding_goes_up_to_the_next_multiple():
    assert pad_to_divisible((33, 32, 1), (16, 16, 4)) == (48, 32, 4)
