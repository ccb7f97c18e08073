"""Means over cases leave out what is undefined."""

from __future__ import annotations

import pytest

from nnbox.evaluation.summary import mean_dice, mean_dice_per_label, summarize
from nnbox.records.results import CaseScores, LabelScores


def _case(name, *dice):
    labels = tuple(
        LabelScores(
            dice=value,
            surface_dice=value,
            hd95_mm=None if not value else 10 * value,
            reference_voxels=1,
            predicted_voxels=1,
        )
        for value in dice
    )
    return CaseScores(case=name, labels=labels)


def test_means_are_over_the_cases_that_define_the_measure():
    cases = [_case("a", 0.8, None, None), _case("b", 0.0, 0.5, None), _case("c", 0.4, None, None)]
    assert mean_dice_per_label(cases) == (pytest.approx(0.4), 0.5, None)
    first, second, third = summarize(cases)
    assert (first.cases, second.cases, third.cases) == (3, 1, 0)
    assert first.hd95_mm == pytest.approx(6.0)
    assert second.surface_dice == 0.5
    assert third.hd95_mm is None


def test_the_mean_over_labels_weighs_labels_not_cases():
    cases = [_case("a", 1.0, None), _case("b", 0.0, 0.9)]
    assert mean_dice(cases) == pytest.approx((0.5 + 0.9) / 2)


def test_nothing_defined_has_no_mean():
    assert mean_dice([_case("a", None, None)]) is None
    assert mean_dice_per_label([]) == ()
    assert mean_dice([]) is None


def test_cases_of_different_label_counts_are_refused():
    with pytest.raises(ValueError, match="zip"):
        summarize([_case("a", 1.0), _case("b", 1.0, 0.5)])
