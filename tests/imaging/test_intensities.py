"""The fingerprint's numbers against numpy on everything at once, however little of it is held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnbox.errors import DataError
from nnbox.imaging import counts, intensities
from nnbox.imaging.counts import count_channel, count_fine
from nnbox.imaging.intensities import IntensityTally, combine_intensities

_floats = st.floats(-1e6, 1e6, width=32)
WAYS = ("values", "bins", "values, then bins", "some cases by values")


def combined(cases):
    """Combine cases, each a tuple of one array of voxels per channel."""
    return combine_intensities(
        (tuple(count_channel(channel) for channel in case) for case in cases),
        lambda bins: (
            tuple(count_fine(channel, wanted) for channel, wanted in zip(case, bins, strict=True)) for case in cases
        ),
    )


def choose_way(way, patch):
    if way == "bins":
        patch.setattr(counts, "_SORTED_VOXELS", -1)
        patch.setattr(counts, "_COUNTABLE_RANGE", -1)
    elif way == "values, then bins":
        patch.setattr(intensities._Channel, "_MOST_VALUES", 30)
        patch.setattr(intensities._Channel, "_PENDING_VALUES", 10)
    elif way == "some cases by values":
        patch.setattr(counts, "_SORTED_VOXELS", 800)


def assert_equals_numpy(found, voxels):
    voxels = voxels.astype(np.float64)
    low, high = np.percentile(voxels, [0.5, 99.5])
    assert found.voxels == voxels.size
    assert (found.minimum, found.maximum) == (voxels.min(), voxels.max())
    scale = max(1.0, float(np.abs(voxels).max()))
    np.testing.assert_allclose(
        [found.mean, found.sd, found.percentile_00_5, found.percentile_99_5],
        [voxels.mean(), voxels.std(), low, high],
        rtol=1e-12,
        atol=1e-12 * scale,
    )


@pytest.mark.parametrize("whole_numbers", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_statistics_equal_numpys_over_all_voxels(whole_numbers, way, monkeypatch):
    choose_way(way, monkeypatch)
    rng = np.random.default_rng(0)
    cases = []
    for size in (600, 7, 4000, 1, 0, 900):
        case = rng.normal([[200], [-3]], [[90], [0.5]], (2, size)).astype(np.float32)
        cases.append(tuple(np.rint(case) if whole_numbers else case))
    found = combined(cases)
    assert len(found) == 2
    for channel, intensity in enumerate(found):
        assert_equals_numpy(intensity, np.concatenate([case[channel] for case in cases]))


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.lists(_floats, max_size=60), min_size=1, max_size=5).filter(lambda cases: any(cases)),
    st.sampled_from(WAYS),
)
def test_any_numbers_are_ordered_as_numpy_orders_them(cases, way):
    arrays = [np.array(case, dtype=np.float32) for case in cases]
    with pytest.MonkeyPatch.context() as patch:
        choose_way(way, patch)
        (found,) = combined([(array,) for array in arrays])
    assert_equals_numpy(found, np.concatenate(arrays))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=400), st.integers(0, 9))
def test_the_order_of_the_cases_does_not_matter(values, seed):
    cases = [(part,) for part in np.array_split(np.array(values, dtype=np.float32), 3)]
    shuffled = [cases[index] for index in np.random.default_rng(seed).permutation(3)]
    assert combined(cases) == combined(shuffled)


def test_whole_numbers_are_held_by_distinct_value():
    found = count_channel(np.tile(np.arange(-5, 5, dtype=np.float32), 1000))
    assert found.values.tolist() == list(range(-5, 5))
    assert found.counts.tolist() == [1000] * 10


@pytest.mark.parametrize("offset", [0, 5_000_000, -(2**31), 2**31])
def test_whole_numbers_far_from_zero_are_counted_too(offset):
    voxels = (np.arange(0, 5120, 256, dtype=np.float64) + offset).astype(np.float32)
    (found,) = combined([(voxels,)])
    assert_equals_numpy(found, voxels)


@pytest.mark.parametrize("cases", [3, 300])
def test_what_is_held_does_not_grow_with_the_number_of_cases(cases, monkeypatch):
    monkeypatch.setattr(counts, "_SORTED_VOXELS", 500)
    monkeypatch.setattr(intensities._Channel, "_PENDING_VALUES", 1000)
    rng = np.random.default_rng(1)
    tally = IntensityTally()
    for _ in range(cases):
        tally.add((count_channel(rng.normal(size=501).astype(np.float32)), count_channel(np.arange(501.0, dtype="f4"))))
    bins = tally.unresolved()
    assert len(bins[0]) <= 4
    assert bins[1] == ()
    floats, whole = tally._channels
    assert not floats._pending
    assert (floats._values, floats._counts.size) == (None, 65536)
    assert whole._values.size == 501


def test_a_second_pass_that_sees_other_voxels_is_refused(monkeypatch):
    choose_way("bins", monkeypatch)
    voxels = np.random.default_rng(2).normal(size=100).astype(np.float32)
    with pytest.raises(DataError, match="changed while they were read"):
        combine_intensities([(count_channel(voxels),)], lambda bins: [(count_fine(voxels[1:] * 1.01, bins[0]),)])


def test_no_foreground_anywhere_is_said_in_words():
    empty = np.empty(0, dtype=np.float32)
    with pytest.raises(DataError, match="no training case has a foreground voxel"):
        combined([(empty,), (empty,)])
    with pytest.raises(DataError, match="no training case has a foreground voxel"):
        combined([])


@pytest.mark.parametrize("lowest", [-(2**23) + 1, -(2**23), -70_000, -1, 0, 2**23 - 1, 2**23])
@pytest.mark.parametrize("span", [1, 600, 2**20 - 2])
def test_whole_numbers_are_counted_as_sorting_counts_them(lowest, span):
    """Also at both ends of what a float32 tells apart by its last bit."""
    rng = np.random.default_rng(span)
    voxels = np.concatenate(([lowest, lowest + span], rng.integers(lowest, lowest + span + 1, 40_000))).astype("f4")
    found = count_channel(voxels)
    values, counts = np.unique(voxels, return_counts=True)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_array_equal(found.counts, counts)


def test_one_half_among_whole_numbers_is_told():
    voxels = np.append(np.arange(100_000, dtype=np.float32) % 500, np.float32(7.5))
    found = count_channel(voxels)
    assert 7.5 in found.values
    assert found.counts.sum() == voxels.size
