"""Surface elements against geometry worked out by hand and against the table of the surface-distance package."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from surface_distance import lookup_tables

from nnbox.evaluation.elements import element_sizes, neighbour_codes

_CORNERS = list(itertools.product((0, 1), repeat=3))
_SPACINGS = [(1.0, 1.0, 1.0), (3.0, 1.0, 0.7), (0.4, 5.0, 2.2)]


def _code(*corners):
    return sum(1 << _CORNERS.index(corner) for corner in corners)


@pytest.mark.parametrize("spacing_mm", _SPACINGS)
def test_all_256_areas_equal_the_published_table(spacing_mm):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
    weights = [int(kernel[corner]) for corner in _CORNERS]
    for code, size in enumerate(element_sizes(spacing_mm)):
        same = sum(weight for bit, weight in enumerate(weights) if code >> bit & 1)
        assert size == pytest.approx(theirs[same], abs=1e-9)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (2.5, 0.3)])
def test_all_16_lengths_equal_the_published_table(spacing_mm):
    theirs = lookup_tables.create_table_neighbour_code_to_contour_length(spacing_mm)
    kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL.ravel()
    for code, size in enumerate(element_sizes(spacing_mm)):
        same = sum(int(weight) for bit, weight in enumerate(kernel) if code >> bit & 1)
        assert size == pytest.approx(theirs[same], abs=1e-9)


def test_a_flat_wall_has_the_area_of_its_face():
    wall = _code((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1))
    assert element_sizes((3.0, 2.0, 5.0))[wall] == pytest.approx(10.0)


def test_one_corner_cuts_off_a_triangle():
    a, b, c = (np.array(point) for point in ((1.5, 0, 0), (0, 1.0, 0), (0, 0, 2.5)))
    area = np.linalg.norm(np.cross(b - a, c - a)) / 2
    assert element_sizes((3.0, 2.0, 5.0))[_code((0, 0, 0))] == pytest.approx(area)


@pytest.mark.parametrize("spacing_mm", [*_SPACINGS, (1.3, 0.6)])
def test_inside_and_outside_are_alike(spacing_mm):
    sizes = element_sizes(spacing_mm)
    assert sizes[0] == sizes[-1] == 0
    np.testing.assert_allclose(sizes, sizes[::-1], atol=1e-12)


def test_a_single_voxel_is_surrounded_by_eight_cells():
    codes = neighbour_codes(np.ones((1, 1, 1), dtype=bool))
    assert codes.shape == (2, 2, 2)
    assert sorted(codes.ravel().tolist()) == [1, 2, 4, 8, 16, 32, 64, 128]
