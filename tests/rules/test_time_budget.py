"""A schedule laid out for a time budget: it fits, it is fair, and the rate reaches its end whatever the drift."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.recipes import RECIPE_2018, RECIPE_2019
from nnbox.records.codec import decode, encode
from nnbox.rules.schedule import (
    ScheduleState,
    continue_for,
    first_laid_out_state,
    first_state,
    last_epoch,
    next_state,
    rate_of_step,
)
from nnbox.rules.time_budget import (
    LEAST_EPOCHS,
    LEAST_STEPS,
    NetworkCost,
    divide_into_epochs,
    duration_words,
    ends_after_seconds,
    epochs_that_fit,
    laid_out_rate,
    steps_that_fit,
)

_SECONDS = st.floats(0.001, 50)
_COSTS = st.lists(
    st.builds(NetworkCost, step_seconds=_SECONDS, other_seconds=st.floats(0, 300), left=st.floats(0.05, 1)),
    min_size=1,
    max_size=20,
)
_BUSY = st.lists(st.floats(0, 1000), min_size=1, max_size=8)


def _rates(recipe, epochs, changes=None):
    """Follow a layout to its end; ``changes`` gives, by epochs done, how many are to be left from there on."""
    state, rates = first_laid_out_state(recipe, epochs), []
    while state.finished is None:
        state = continue_for(state, recipe, (changes or {}).get(state.epoch, state.epochs_left))
        rates.extend(rate_of_step(state, recipe, step) for step in range(recipe.iterations_per_epoch))
        state = next_state(state, recipe, 1.0, 1.0)
    return rates, state


@given(_COSTS, st.floats(1, 1e6), _BUSY)
def test_what_is_laid_out_fits_into_the_time_and_one_step_more_does_not(costs, seconds, busy):
    steps = steps_that_fit(costs, seconds, RECIPE_2019, busy)
    assert 0 <= steps <= 250_000
    if steps:
        assert ends_after_seconds(costs, steps, busy) <= seconds
    if steps < 250_000:
        assert ends_after_seconds(costs, steps + 1, busy) > seconds


@given(_COSTS, st.floats(1, 1e6))
def test_more_places_side_by_side_never_give_fewer_steps(costs, seconds):
    found = [steps_that_fit(costs, seconds, RECIPE_2019, (0.0,) * places) for places in (1, 2, 4)]
    assert found == sorted(found)


def test_one_after_the_other_the_time_is_divided_by_the_seconds_of_one_step_of_each():
    # 20 networks, 5 of each kind: a step of each kind takes 1.5 s together, so 5 of each 7.5 s; 100 s are other work.
    costs = [NetworkCost(step_seconds=seconds, other_seconds=5.0) for seconds in (0.1, 0.5, 0.2, 0.7) for _ in range(5)]
    assert steps_that_fit(costs, 100 + 7.5 * 40, RECIPE_2019) == 40
    assert steps_that_fit(costs, 100 + 7.5 * 40 - 0.001, RECIPE_2019) == 39
    assert steps_that_fit(costs, 99, RECIPE_2019) == 0


def test_a_network_that_is_half_trained_counts_half():
    whole, half = NetworkCost(step_seconds=1.0), NetworkCost(step_seconds=1.0, left=0.5)
    assert steps_that_fit([half, whole], 150, RECIPE_2019) == 100


def test_no_network_gets_more_than_the_recipe_gives_it():
    assert steps_that_fit([NetworkCost(step_seconds=0.001)], 1e9, RECIPE_2018) == 250_000
    assert divide_into_epochs(250_000, RECIPE_2018) == (1000, 250)


@given(st.integers(0, 250_000))
def test_a_schedule_has_at_least_twenty_epochs_none_longer_than_the_recipes(steps):
    epochs, iterations = divide_into_epochs(steps, RECIPE_2019)
    wanted = max(steps, LEAST_STEPS)
    assert LEAST_EPOCHS <= epochs <= 1000
    assert 2 <= iterations <= 250
    assert 0.9 * wanted - LEAST_EPOCHS < epochs * iterations <= wanted


@given(st.integers(1, 60), st.integers(1, 5))
def test_the_rate_falls_with_every_step_and_the_last_step_is_taken_at_the_recipes_last_rate(epochs, iterations):
    recipe = replace(RECIPE_2019, iterations_per_epoch=iterations)
    rates, state = _rates(recipe, epochs)
    assert len(rates) == epochs * iterations
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert rates[0] < 3e-4
    assert rates[-1] == pytest.approx(1e-6)
    assert state.finished == f"layout: the schedule laid out for the time budget is at its end after {epochs} epochs"


def test_the_curve_by_hand():
    assert laid_out_rate(RECIPE_2019, 0.0) == pytest.approx(3e-4)
    assert laid_out_rate(RECIPE_2019, 0.5) == pytest.approx(1e-6 + 2.99e-4 * 0.5**0.9)
    assert laid_out_rate(RECIPE_2019, 1.0) == 1e-6


@given(st.dictionaries(st.integers(0, 60), st.integers(-3, 40)), st.integers(1, 40))
def test_however_often_it_is_laid_out_anew_the_rate_never_rises_and_reaches_its_end(changes, epochs):
    recipe = replace(RECIPE_2019, iterations_per_epoch=3, maximum_epochs=100)
    rates, state = _rates(recipe, epochs, changes)
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] == pytest.approx(1e-6)
    assert state.epoch <= 100


@given(st.floats(0.2, 5), st.lists(st.floats(0.3, 3), min_size=30, max_size=30), st.floats(60, 600))
def test_a_network_that_becomes_slow_ends_within_its_share_and_at_the_last_rate(usual, factors, share):
    # Epochs take what they take; after each, what is left is laid out by the mean of those so far.
    recipe = replace(RECIPE_2019, iterations_per_epoch=5)
    state = first_laid_out_state(recipe, epochs_that_fit(usual, share))
    used = longest = 0.0
    while state.finished is None:
        seconds = usual * factors[state.epoch % len(factors)]
        used, longest = used + seconds, max(longest, seconds)
        last = rate_of_step(state, recipe, 4)
        state = next_state(state, recipe, 1.0, 1.0)
        state = continue_for(state, recipe, epochs_that_fit(used / state.epoch, share - used))
    assert used <= share + 1.1 * longest
    assert last == pytest.approx(1e-6)
    assert state.epochs_left == 0


def test_a_layout_is_no_part_of_the_recipes_own_schedule():
    state = first_state(RECIPE_2019)
    assert continue_for(state, RECIPE_2019, 5) == state
    assert rate_of_step(state, RECIPE_2019, 17) == 3e-4
    assert last_epoch(state, RECIPE_2019) == 1000
    assert last_epoch(first_laid_out_state(RECIPE_2019, 30), RECIPE_2019) == 30


def test_a_plateau_does_not_touch_a_laid_out_rate():
    for recipe in (RECIPE_2018, RECIPE_2019):
        state = first_laid_out_state(recipe, 200)
        for _ in range(150):
            state = next_state(state, recipe, 1.0, 1.0)
        assert state.finished is None
        assert state.rate == pytest.approx(laid_out_rate(recipe, 0.75))
        assert state.training_average == 1.0


def test_a_layout_continues_from_its_record():
    state = next_state(first_laid_out_state(RECIPE_2019, 9), RECIPE_2019, 2.0, 2.0)
    again = decode(encode(state), ScheduleState, where="test")
    assert again == state
    assert next_state(again, RECIPE_2019, 1.0, 1.0) == next_state(state, RECIPE_2019, 1.0, 1.0)


def test_a_budget_is_written_as_it_is_typed():
    assert [duration_words(seconds) for seconds in (45, 360, 43_200, 129_600, 90_061)] == [
        *("45s", "6m", "12h", "1d12h", "1d1h1m1s"),
    ]
