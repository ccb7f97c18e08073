"""Means, their intervals, and candidates compared case by case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.report.statistics import compare, mean_interval, median_of, quartiles

_DICE = st.one_of(st.none(), st.floats(0, 1))


@pytest.mark.parametrize("values", [[], [0.5], [None, 0.5, None]])
def test_fewer_than_two_values_have_no_interval(values):
    assert mean_interval(values) is None


@given(st.lists(_DICE, min_size=2, max_size=40))
def test_an_interval_lies_within_the_values_and_is_the_same_every_time(values):
    found = mean_interval(values)
    defined = [value for value in values if value is not None]
    if found is None:
        assert len(defined) < 2
    else:
        assert min(defined) <= found[0] <= found[1] <= max(defined)
        assert mean_interval(values) == found


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.7] * 13) == (0.7, 0.7)


def test_three_values_have_nearly_the_interval_of_all_27_resamples():
    values = [0.2, 0.5, 0.9]
    means = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
    low, high = mean_interval(values)
    # 5000 draws of 27 equally likely means: the end may fall on a neighbouring one.
    ordered = sorted(set(np.round(means, 12)))
    for found, share in ((low, 0.025), (high, 0.975)):
        exact = np.quantile(means, share, method="inverted_cdf")
        place = int(np.argmin(np.abs(np.array(ordered) - exact)))
        assert ordered[max(0, place - 1)] - 1e-9 <= found <= ordered[min(len(ordered) - 1, place + 1)] + 1e-9


def test_the_interval_of_many_values_is_about_two_standard_errors_wide():
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    low, high = mean_interval(list(values))
    error = values.std() / np.sqrt(values.size)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)
    assert low < values.mean() < high


def test_candidates_are_compared_where_both_are_defined():
    found = compare([0.9, 0.5, None, 0.4], [0.8, 0.5, 0.3, 0.6])
    assert found.differences == pytest.approx((0.1, 0.0, -0.2))
    assert found.mean == pytest.approx(-0.1 / 3)
    assert (found.better, found.worse) == (1, 1)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        compare([0.1, 0.2], [0.1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_quartiles_are_in_order_and_hold_the_median(values):
    low, middle, high = quartiles(values)
    assert low <= middle <= high
    assert middle == pytest.approx(median_of(values))
