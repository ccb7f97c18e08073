"""Class maps against interpolating every class and taking the highest, as `nnbox.imaging.resample` does it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnbox.imaging.resample import resample_probabilities
from nnbox.inference import class_maps
from nnbox.inference.class_maps import class_type, top_classes, write_classes
from nnbox.inference.corners import Source, read_axis
from nnbox.inference.export import most_probable

sizes = st.tuples(*[st.integers(1, 9)] * 3)


def axes_of(old, new, separate=None, sums=(None, None, None)):
    return tuple(
        read_axis(a, b, nearest=axis == separate, sums=factors)
        for axis, (a, b, factors) in enumerate(zip(old, new, sums, strict=True))
    )


def whole(new):
    return tuple(slice(0, size) for size in new)


def classes_on(values, new, separate=None, sums=(None, None, None)):
    target = np.zeros(new, class_type(len(values)))
    source = Source(torch.from_numpy(values), (0, 0), axes_of(values.shape[1:], new, separate, sums))
    write_classes(target, whole(new), [source])
    return target


def smooth(rng, classes, shape):
    """Class probabilities with regions: a few voxels wide, so that cells of every kind occur."""
    coarse = rng.standard_normal((classes, *[max(1, size // 3) for size in shape])).astype(np.float32)
    logits = 5 * resample_probabilities(coarse, shape, separate_axis=None)
    raised = np.exp(logits - logits.max(axis=0))
    return np.ascontiguousarray(raised / raised.sum(axis=0), dtype=np.float32)


@pytest.mark.parametrize("separate", [None, 0, 1, 2])
@pytest.mark.parametrize("new", [(13, 25, 17), (21, 30, 40), (9, 24, 20), (30, 12, 20)])
def test_classes_are_those_of_the_interpolated_probabilities_but_for_rounding_ties(rng, separate, new):
    values = smooth(rng, 6, (12, 24, 20))
    dense = resample_probabilities(values, new, separate_axis=separate)
    found, wanted = classes_on(values, new, separate), most_probable(dense)
    first, second = np.sort(dense, axis=0)[[-1, -2]]
    assert found.dtype == np.uint8
    assert len(np.unique(found)) > 2
    np.testing.assert_array_equal(found[first - second > 1e-6], wanted[first - second > 1e-6])


@given(st.integers(0, 2**32 - 1), sizes, st.sampled_from([1, 2, 4]), st.booleans())
def test_exact_ties_go_to_the_lowest_class(seed, shape, factor, apart):
    # Eighths, and positions at powers of two: every product and sum is exact, so a tie is a tie in any order.
    values = np.random.default_rng(seed).integers(0, 3, (4, *shape)).astype(np.float32) / 8
    new = tuple(size * factor for size in shape)
    dense = resample_probabilities(values, new, separate_axis=0 if apart else None)
    np.testing.assert_array_equal(classes_on(values, new, 0 if apart else None), dense.argmax(axis=0))


@given(st.integers(0, 2**32 - 1), sizes, sizes)
def test_any_two_sizes_agree_up_to_rounding(seed, old, new):
    values = np.random.default_rng(seed).dirichlet([1] * 3, old).astype(np.float32)
    values = np.ascontiguousarray(np.moveaxis(values, -1, 0))
    dense = resample_probabilities(values, new, separate_axis=None)
    chosen = np.take_along_axis(dense, classes_on(values, new)[None].astype(np.intp), axis=0)[0]
    assert (dense.max(axis=0) - chosen).max() <= 1e-6


def test_parts_of_a_source_give_what_the_whole_gives(rng):
    values, new = smooth(rng, 5, (12, 20, 16)), (19, 27, 30)
    axes = axes_of(values.shape[1:], new)
    found = np.full(new, 99, np.uint8)
    for z in ((0, 5), (5, 6), (6, 12)):
        for y in ((0, 7), (7, 20)):
            start = (max(z[0] - 1, 0), max(y[0] - 1, 0))
            part = torch.from_numpy(np.ascontiguousarray(values[:, start[0] : z[1], start[1] : y[1]]))
            box = (axes[0].outputs(*z), axes[1].outputs(*y), slice(0, 30))
            write_classes(found, box, [Source(part, start, axes)])
    np.testing.assert_array_equal(found, classes_on(values, new))


def test_a_small_table_changes_nothing(rng, monkeypatch):
    values, new = smooth(rng, 5, (12, 20, 16)), (19, 27, 30)
    wanted = classes_on(values, new)
    monkeypatch.setattr(class_maps, "TABLE_VALUES", 1)
    monkeypatch.setattr(class_maps, "POINTS", 7)
    monkeypatch.setattr(class_maps, "_TOP_COLUMNS", 10)
    np.testing.assert_array_equal(classes_on(values, new), wanted)


def test_factors_of_the_axes_are_divided_out(rng):
    values, new = smooth(rng, 4, (10, 12, 9)), (14, 17, 9)
    sums = tuple(rng.uniform(1e-4, 5, size).astype(np.float32) for size in values.shape[1:])
    factors = np.einsum("z,y,x->zyx", *sums)
    found = classes_on(np.ascontiguousarray(values * factors), new, sums=sums)
    dense = resample_probabilities(values, new, separate_axis=None)
    first, second = np.sort(dense, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found[clear], most_probable(dense)[clear])


def test_members_on_different_grids_are_averaged_before_the_choice(rng):
    new = (11, 18, 15)
    members = [smooth(rng, 4, shape) for shape in ((11, 24, 20), (8, 12, 10))]
    separate = (0, None)
    dense = [
        resample_probabilities(values, new, separate_axis=axis) for values, axis in zip(members, separate, strict=True)
    ]
    mean = (dense[0] + dense[1]) / 2
    target = np.zeros(new, np.uint8)
    sources = [
        Source(torch.from_numpy(values), (0, 0), axes_of(values.shape[1:], new, axis))
        for values, axis in zip(members, separate, strict=True)
    ]
    write_classes(target, whole(new), sources)
    first, second = np.sort(mean, axis=0)[[-1, -2]]
    clear = first - second > 1e-6
    np.testing.assert_array_equal(target[clear], most_probable(mean)[clear])
    assert (most_probable(dense[0]) != target).any()
    assert (most_probable(dense[1]) != target).any()


def test_a_cell_whose_corners_agree_is_not_interpolated(rng, monkeypatch):
    values = np.zeros((3, 6, 6, 6), np.float32)
    values[1] = 0.6
    values[2] = rng.uniform(0, 0.5, (6, 6, 6))
    monkeypatch.setattr(class_maps, "_settle", None)
    assert (classes_on(values, (9, 13, 20)) == 1).all()


def test_more_than_255_classes_are_told_apart():
    values = np.zeros((300, 1, 2, 2), np.float32)
    for index, label in enumerate((0, 255, 256, 299)):
        values[label, 0, index // 2, index % 2] = 1
    found = classes_on(values, (1, 8, 8))
    assert found.dtype == np.uint16
    assert set(np.unique(found)) == {0, 255, 256, 299}


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_the_top_class_is_numpys_argmax(seed, classes):
    values = np.random.default_rng(seed).integers(0, 3, (classes, 2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(top_classes(torch.from_numpy(values), np.uint8), values.argmax(axis=0))


def test_every_output_belongs_to_the_range_that_completes_it():
    for old, new, nearest in ((5, 13, False), (13, 5, False), (6, 6, False), (4, 9, True), (1, 7, False)):
        axis = read_axis(old, new, nearest=nearest)
        spans = [axis.outputs(start, start + 1) for start in range(old)]
        assert spans[0].start == 0
        assert spans[-1].stop == new
        assert [span.stop for span in spans[:-1]] == [span.start for span in spans[1:]]
        for start, span in enumerate(spans):
            if span.start < span.stop:
                assert axis.needs(span).stop == start + 1
