"""When post-processing is used: the rule on references (2018) and the cross-validated one (2019)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.rules.postprocessing import accept_step, single_component_labels


def _labels(components):
    return [step.label for step in single_component_labels(components)]


def test_the_2018_rule_asks_for_one_component_in_every_reference_that_holds_the_label():
    # Label 1: always one. 2: once two. 3: absent from one case, else one. 4: in no case. 5: one case only.
    assert _labels([(1, 1, 0, 0, 0), (1, 2, 1, 0, 0), (1, 1, 1, 0, 1)]) == [1, 3, 5]


def test_without_references_nothing_is_done():
    assert _labels([]) == []
    assert _labels([()]) == []


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=12))
def test_the_2018_rule_fires_exactly_when_its_condition_holds(components):
    fired = _labels(components)
    for label in (1, 2, 3):
        counts = {case[label - 1] for case in components} - {0}
        assert (label in fired) == (counts == {1})


def test_cases_with_different_numbers_of_labels_are_an_error():
    with pytest.raises(ValueError, match="argument 2"):
        single_component_labels([(1,), (1, 1)])


def test_a_stray_component_in_a_single_lesion_task_is_removed():
    before = [(0.9, 0.8), (0.6, 0.8), (0.9, None)]
    after = [(0.9, 0.8), (0.8, 0.8), (0.9, None)]
    good, reason = accept_step(before, after)
    assert good
    assert reason.startswith("mean Dice 0.8000 -> 0.8333")


def test_a_multi_lesion_task_is_left_alone():
    # Keeping one lesion lowers the Dice wherever there are several.
    good, reason = accept_step([(0.8,), (0.7,), (0.9,)], [(0.5,), (0.4,), (0.9,)])
    assert not good
    assert "no rise" in reason


def test_a_rise_of_a_ten_thousandth_is_not_enough():
    assert not accept_step([(0.5,)], [(0.5001,)])[0]
    assert accept_step([(0.5,)], [(0.50011,)])[0]
    assert not accept_step([(0.5,)], [(0.5,)])[0]


def test_no_label_may_fall_even_if_the_mean_rises():
    good, reason = accept_step([(0.5, 0.9)], [(0.9, 0.89)])
    assert not good
    assert "label 2 falls from 0.9000 to 0.8900" in reason


def test_no_case_may_lose_a_label_even_if_every_mean_rises():
    good, reason = accept_step([(0.5,), (0.1,)], [(0.9,), (0.0,)])
    assert not good
    assert "case number 2 loses label 1" in reason


def test_a_false_positive_that_vanishes_makes_its_dice_undefined():
    # Absent from the reference but predicted: 0. Absent from both: undefined, left out of the mean.
    good, reason = accept_step([(0.8,), (0.0,)], [(0.8,), (None,)])
    assert good
    assert "0.4000 -> 0.8000" in reason


def test_a_label_that_was_missed_before_is_not_lost():
    assert accept_step([(0.5, 0.0)], [(0.6, 0.0)])[0]


def test_without_any_dice_a_step_is_refused():
    assert accept_step([(None,)], [(None,)]) == (False, "no case defines a Dice to judge it by")
    assert not accept_step([], [])[0]


def test_different_cases_are_an_error():
    with pytest.raises(ValueError, match="argument 2"):
        accept_step([(0.5,)], [])


@given(st.lists(st.tuples(*[st.one_of(st.none(), st.floats(0, 1))] * 2), min_size=1, max_size=6))
def test_what_changes_nothing_is_refused(cases):
    assert not accept_step(cases, cases)[0]
