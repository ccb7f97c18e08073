"""Laws of the walk, checked against visiting every tile."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnbox.inference.tiles import tile_corners
from nnbox.inference.walk import Walk

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))
patches = st.tuples(st.integers(1, 16), st.integers(1, 16), st.integers(4, 12))


def cells(walk):
    return itertools.product(*walk.segments[:2])


@given(shapes, patches)
def test_tiles_are_those_of_the_padded_volume_in_the_same_order(shape, patch):
    walk = Walk(shape, patch)
    padded = tuple(map(max, shape, patch))
    before = [(a - b) // 2 for a, b in zip(padded, shape, strict=True)]
    wanted = [tuple(c - b for c, b in zip(corner, before, strict=True)) for corner in tile_corners(padded, patch)]
    assert [corner for row in walk.rows() for corner in walk.corners(row)] == wanted
    assert walk.tiles == len(wanted)


@given(shapes, patches)
def test_cells_cover_the_volume_once_and_are_seen_by_the_rows_they_name(shape, patch):
    walk = Walk(shape, patch)
    covered = np.zeros(shape[:2], int)
    for z, y in cells(walk):
        covered[z.start : z.stop, y.start : y.stop] += 1
        for row in walk.rows():
            zs, ys = walk.starts[0][row[0]], walk.starts[1][row[1]]
            sees = zs < z.stop and zs + patch[0] > z.start and ys < y.stop and ys + patch[1] > y.start
            assert sees == (z.first <= row[0] <= z.last and y.first <= row[1] <= y.last)
            if sees:
                assert zs <= z.start
                assert z.stop <= zs + patch[0]
                assert ys <= y.start
                assert y.stop <= ys + patch[1]
    assert (covered == 1).all()


@given(shapes, patches, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([(0, 0), (1, 1), (1, 0)]))
def test_the_peak_is_what_a_count_over_all_rows_gives(shape, patch, rest, halo):
    walk = Walk(shape, patch)
    most = 0.0
    for row in walk.rows():
        count = 0.0
        for z, y in cells(walk):
            size = (z.size + halo[0]) * (y.size + halo[1])
            seen = z.first <= row[0] <= z.last and y.first <= row[1] <= y.last
            begun = (z.first, y.first) <= row and (z.first < row[0] or y.first <= row[1])
            waits = begun and not seen and (z.last, y.last) >= row and z.last >= row[0]
            waits = waits and (z.last > row[0] or y.last > row[1])
            count += size if seen else rest * size * waits
        most = max(most, count)
    assert walk.peak_voxels(rest=rest, halo=halo) == most * shape[2]


def test_memory_does_not_grow_with_the_length_of_the_volume():
    peaks = {Walk((length, 96, 96), (32, 48, 48)).peak_voxels() for length in (64, 128, 512, 4096)}
    assert len(peaks) == 1
    assert peaks.pop() < 32 * 96 * 96


def test_slices_leave_nothing_for_the_next():
    assert Walk((50, 96, 96), (1, 48, 48)).peak_voxels() == 48 * 96
    assert Walk((50, 96, 96), (1, 48, 48)).peak_voxels(rest=0) == 48 * 96
