"""Which samples hold foreground, and where their patches lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbox.recipes import RECIPE_2018, RECIPE_2019, ForcedSamples
from nnbox.rules.sampling import choose_case, choose_forced_class, choose_patch_start, forced_samples


@pytest.mark.parametrize(
    ("recipe", "batch_size", "forced"),
    [
        (RECIPE_2018, 2, 1),
        (RECIPE_2018, 9, 4),
        (RECIPE_2018, 366, 123),
        (RECIPE_2019, 2, 1),
        (RECIPE_2019, 9, 3),
        (RECIPE_2019, 366, 121),
    ],
)
def test_the_number_of_forced_samples(recipe, batch_size, forced):
    assert sum(forced_samples(batch_size, recipe.forced_samples)) == forced


@given(batch_size=st.integers(2, 1000), rule=st.sampled_from(list(ForcedSamples)))
def test_the_forced_samples_come_last(batch_size, rule):
    flags = forced_samples(batch_size, rule)
    assert len(flags) == batch_size
    assert list(flags) == sorted(flags)
    if rule is ForcedSamples.MORE_THAN_A_THIRD:
        assert 3 * sum(flags) > batch_size


def test_a_class_is_drawn_among_those_present():
    rng = np.random.default_rng(1)
    drawn = [choose_forced_class(rng, (4, 0, 1, 900)) for _ in range(3000)]
    assert set(drawn) == {1, 3, 4}
    # Equal chances whatever their size: 1000 each, standard deviation 26.
    assert all(abs(drawn.count(label) - 1000) < 130 for label in (1, 3, 4))


def test_a_case_without_foreground_forces_nothing():
    assert choose_forced_class(np.random.default_rng(1), (0, 0)) is None


def test_cases_are_drawn_with_replacement():
    rng = np.random.default_rng(2)
    drawn = [choose_case(rng, 4) for _ in range(4000)]
    assert all(abs(drawn.count(case) - 1000) < 140 for case in range(4))


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 40), min_size=2, max_size=3),
    data=st.data(),
    seed=st.integers(0, 2**32),
    forced=st.booleans(),
)
def test_a_patch_lies_inside_the_image_as_far_as_it_fits(shape, data, seed, forced):
    patch = [data.draw(st.integers(1, 50)) for _ in shape]
    centre = [data.draw(st.integers(0, size - 1)) for size in shape] if forced else None
    start = choose_patch_start(np.random.default_rng(seed), shape_vox=shape, patch_vox=patch, centre_vox=centre)
    for axis, (first, size, edge) in enumerate(zip(start, shape, patch, strict=True)):
        if edge <= size:
            assert 0 <= first <= size - edge
        else:
            assert first <= 0
            assert first + edge >= size
        if centre:
            assert first <= centre[axis] < first + edge


def test_a_patch_without_a_centre_may_start_anywhere():
    rng = np.random.default_rng(3)
    starts = [choose_patch_start(rng, shape_vox=(10,), patch_vox=(6,), centre_vox=None)[0] for _ in range(5000)]
    assert all(abs(starts.count(first) - 1000) < 150 for first in range(5))


def test_a_centre_far_inside_is_in_the_middle_of_the_patch():
    rng = np.random.default_rng(4)
    assert choose_patch_start(rng, shape_vox=(100, 100), patch_vox=(10, 20), centre_vox=(50, 50)) == (45, 40)
    assert choose_patch_start(rng, shape_vox=(100, 100), patch_vox=(10, 20), centre_vox=(99, 0)) == (90, 0)
    assert choose_patch_start(rng, shape_vox=(4, 5), patch_vox=(10, 10), centre_vox=(3, 0)) == (-3, -2)
