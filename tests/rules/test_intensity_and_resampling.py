"""The mask rule, the choice of normalisation, and how a case gets to its target spacing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nnbox.recipes import RECIPE_2018, RECIPE_2019
from nnbox.records.dataset import Channel, Choices
from nnbox.records.fingerprint import Intensity
from nnbox.records.plan import NormalizationScheme
from nnbox.rules.configuration import choose_resampling
from nnbox.rules.intensity import choose_normalization, typical_crop_ratio, uses_nonzero_mask
from nnbox.rules.planning import make_plan
from nnbox.rules.resampling import new_shape, separate_axis

MR = Channel(name="MR", is_ct=False)
CT = Channel(name="CT", is_ct=True)


@pytest.mark.parametrize(
    ("ratio", "in_2018", "in_2019"), [(0.7499, True, True), (0.75, True, False), (0.7501, False, False)]
)
def test_the_mask_rule_around_three_quarters(make_fingerprint, ratio, in_2018, in_2019):
    assert uses_nonzero_mask(ratio, MR, RECIPE_2018) is in_2018
    assert uses_nonzero_mask(ratio, MR, RECIPE_2019) is in_2019
    fingerprint = make_fingerprint((40, 40, 40), (1.0, 1.0, 1.0), cases=3, crop_ratios=(ratio,))
    for recipe, expected in (("2018", in_2018), ("2019", in_2019)):
        plan = make_plan(fingerprint, recipe=recipe, choices=Choices())
        assert plan.normalizations[0].use_nonzero_mask is expected


def test_the_mask_rule_covers_ct_in_2018_only(make_fingerprint):
    # The 2018 document makes no exception; the release leaves CT out.
    assert uses_nonzero_mask(0.75, CT, RECIPE_2018)
    assert not uses_nonzero_mask(0.1, CT, RECIPE_2019)
    fingerprint = make_fingerprint((40, 40, 40), (1.0, 1.0, 1.0), cases=3, channels=("CT", "MR"), crop_ratios=(0.7,))
    masked = {
        name: [item.use_nonzero_mask for item in make_plan(fingerprint, recipe=name, choices=Choices()).normalizations]
        for name in ("2018", "2019")
    }
    assert masked == {"2018": [True, True], "2019": [False, True]}


def test_2018_takes_the_mean_ratio_and_2019_the_median(make_fingerprint):
    ratios = (0.5, 0.7, 0.74, 1.0, 1.0)
    assert typical_crop_ratio(ratios, RECIPE_2018) == pytest.approx(0.788)
    assert typical_crop_ratio(ratios, RECIPE_2019) == 0.74
    fingerprint = make_fingerprint((40, 40, 40), (1.0, 1.0, 1.0), cases=5, crop_ratios=ratios)
    masked = [
        make_plan(fingerprint, recipe=name, choices=Choices()).normalizations[0].use_nonzero_mask
        for name in ("2018", "2019")
    ]
    assert masked == [False, True]


def test_ct_is_scaled_by_the_training_set_and_other_channels_by_the_case(make_fingerprint):
    intensity = Intensity(
        mean=40.0, sd=12.5, percentile_00_5=-100.0, percentile_99_5=300.0, minimum=-1000.0, maximum=2000.0, voxels=10
    )
    ct = choose_normalization(CT, intensity, nonzero_mask=False)
    assert (ct.scheme, ct.mean, ct.sd, ct.lower, ct.upper) == (NormalizationScheme.CT, 40.0, 12.5, -100.0, 300.0)
    mr = choose_normalization(MR, intensity, nonzero_mask=True)
    assert (mr.scheme, mr.use_nonzero_mask, mr.mean, mr.lower) == (NormalizationScheme.ZSCORE, True, None, None)
    fingerprint = make_fingerprint((40, 40, 40), (1.0, 1.0, 1.0), cases=3, channels=("CT", "MR"))
    plan = make_plan(replace(fingerprint, intensities=(intensity, intensity)), recipe="2019", choices=Choices())
    assert plan.trainable
    assert [item.scheme for item in plan.normalizations] == [NormalizationScheme.CT, NormalizationScheme.ZSCORE]
    assert plan.normalizations[0] == ct


TARGET = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("spacing_mm", "target_mm", "axis"),
    [
        ((3.0, 1.0, 1.0), TARGET, None),  # exactly 3 is not more than 3
        ((3.1, 1.0, 1.0), TARGET, 0),
        ((1.0, 3.1, 1.0), TARGET, 1),
        ((1.0, 1.0, 1.0), (5.0, 1.0, 1.0), 0),  # the case is not anisotropic, the target is
        ((1.0, 1.0, 4.0), (5.0, 1.0, 1.0), 2),  # the case comes first
        ((4.0, 4.0, 1.0), TARGET, None),  # two equally coarse axes have no plane
    ],
)
def test_the_coarse_axis_goes_apart_in_2019_only(spacing_mm, target_mm, axis):
    assert separate_axis(spacing_mm, target_mm, RECIPE_2019.separate_axis_threshold) == axis
    assert separate_axis(spacing_mm, target_mm, RECIPE_2018.separate_axis_threshold) is None


def test_a_2d_configuration_is_resampled_in_plane_only():
    target = (None, 0.5, 2.0)
    assert separate_axis((1.0, 1.0, 1.0), target, None) == 0
    assert new_shape((7, 10, 10), (3.0, 1.0, 1.0), target) == (7, 20, 5)


def test_new_sizes_are_rounded_and_at_least_one_voxel():
    assert new_shape((10, 5, 1), (1.0, 1.0, 1.0), (2.0, 2.0, 4.0)) == (5, 2, 1)
    assert new_shape((10, 11, 12), (1.5, 1.0, 1.0), (1.0, 1.0, 1.0)) == (15, 11, 12)


def test_labels_are_nearest_in_2018_and_linear_in_2019():
    old, new = choose_resampling(TARGET, RECIPE_2018), choose_resampling(TARGET, RECIPE_2019)
    assert (old.label_order, old.separate_axis_threshold) == (0, None)
    assert (new.label_order, new.separate_axis_threshold) == (1, 3.0)
