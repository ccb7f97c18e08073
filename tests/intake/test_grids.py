"""Two headers are compared by how far they move the image's corners."""

import dataclasses

import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.geometry import Grid
from nnbox.intake.grids import corner_displacement_vox, orientation

GRID = Grid(
    shape_vox=(5, 11, 21),
    spacing_mm=(2.0, 0.5, 0.25),
    origin_xyz_mm=(1.0, 2.0, 3.0),
    direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
)


def test_a_grid_does_not_move_against_itself():
    assert corner_displacement_vox(GRID, GRID) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"origin_xyz_mm": (1.25, 2.0, 3.0)}, 1.0),
        ({"origin_xyz_mm": (1.0, 2.0, 4.0)}, 0.5),
        ({"spacing_mm": (2.0, 0.5, 0.26)}, 20 * 0.04),
        ({"direction_xyz": (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)}, 40.0),
    ],
)
def test_the_displacement_is_counted_in_voxels(change, expected):
    assert corner_displacement_vox(GRID, dataclasses.replace(GRID, **change)) == pytest.approx(expected)


def test_a_2d_grid_has_four_corners():
    flat = Grid(
        shape_vox=(1, 4, 5),
        spacing_mm=(1.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 1.0),
        dimension=2,
    )
    moved = dataclasses.replace(flat, origin_xyz_mm=(3.0, 4.0))
    assert corner_displacement_vox(flat, moved) == pytest.approx(5.0)
    assert orientation(flat) == "PL"


@pytest.mark.parametrize("code", ["LPS", "RAS", "ASL", "PIR", "SRP"])
def test_orientation_agrees_with_simpleitk(code):
    direction = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code)
    assert orientation(dataclasses.replace(GRID, direction_xyz=tuple(direction))) == code[::-1]
