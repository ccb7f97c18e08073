"""Steps that are left out: ten in a row are a breakdown, and the others are averaged without them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.rules.steadiness import MOST_IN_A_ROW, broke_down, left_out, mean_of_sound

NAN = math.nan


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], False),
        ([NAN] * 9, False),
        ([NAN] * 10, True),
        ([NAN] * 9 + [1.0] + [NAN] * 9, False),
        ([1.0] + [math.inf, NAN] * 5, True),
        ([NAN, 1.0] * 50, False),
    ],
)
def test_ten_in_a_row_are_a_breakdown(losses, expected):
    assert broke_down(losses) is expected


def test_the_mean_is_that_of_the_finite_losses():
    assert mean_of_sound([1.0, NAN, 2.0, math.inf]) == 1.5
    assert mean_of_sound([NAN, -math.inf]) is None
    assert left_out([1.0, NAN, 2.0, math.inf]) == 2


@given(st.lists(st.sampled_from([0.5, NAN, math.inf]), max_size=60))
def test_a_breakdown_once_seen_stays_one(losses):
    seen = [broke_down(losses[:count]) for count in range(len(losses) + 1)]
    assert seen == sorted(seen)
    if broke_down(losses):
        assert left_out(losses) >= MOST_IN_A_ROW
