"""What was placed can be restored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnbox.geometry import Box, Placement, tidy_spacing_mm


@st.composite
def _placements(draw):
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    order = draw(st.sampled_from(list(itertools.permutations(range(3)))))
    working = [shape[axis] for axis in order]
    start = [draw(st.integers(0, size - 1)) for size in working]
    stop = [draw(st.integers(first + 1, size)) for first, size in zip(start, working, strict=True)]
    box = Box(start=tuple(start), stop=tuple(stop))
    return Placement(
        source_shape_vox=shape,
        axis_order=order,
        crop=box,
        crop_spacing_mm=(1.0, 1.0, 1.0),
        prepared_shape_vox=box.shape_vox,
        prepared_spacing_mm=(1.0, 1.0, 1.0),
    )


@given(_placements(), st.integers(0, 2**32 - 1))
def test_place_undoes_restore_and_restore_keeps_the_crop(placement, seed):
    volume = np.random.default_rng(seed).integers(1, 100, placement.source_shape_vox)
    cropped = placement.place(volume)
    assert cropped.shape == placement.crop.shape_vox
    whole = placement.restore(cropped)
    assert whole.shape == volume.shape
    assert np.array_equal(placement.place(whole), cropped)
    kept = whole != 0
    assert np.array_equal(whole[kept], volume[kept])
    assert kept.sum() == cropped.size


@given(_placements())
def test_leading_axes_travel_along(placement):
    volume = np.arange(2 * np.prod(placement.source_shape_vox)).reshape(2, *placement.source_shape_vox)
    cropped = placement.place(volume)
    for channel in range(2):
        assert np.array_equal(cropped[channel], placement.place(volume[channel]))
        assert np.array_equal(placement.restore(cropped)[channel], placement.restore(cropped[channel]))


@pytest.mark.parametrize(
    ("stored", "meant"),
    [(3.2699999809265137, 3.27), (0.9765620231628418, 0.976562), (0.699999988079071, 0.7), (1e-4, 1e-4)],
)
def test_a_float32_header_does_not_change_a_spacing(stored, meant):
    assert tidy_spacing_mm((stored,)) == (meant,)
    assert tidy_spacing_mm((meant,)) == (float(np.format_float_positional(meant)),)
