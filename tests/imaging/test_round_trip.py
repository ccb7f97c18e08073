"""From a file through preprocessing and back into a file: nothing moves, under any axis order and direction."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.geometry import Box, Placement
from nnbox.imaging.io import read_image, read_labels, write_labels
from nnbox.imaging.prepare import prepare
from nnbox.imaging.statistics import case_fingerprint
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.fingerprint import Fingerprint
from nnbox.rules.planning import make_plan

SHAPE = (9, 12, 14)


def _rotation(z_rad, x_rad):
    """A turn about z, then about x: oblique to every axis where both angles are."""
    cz, sz, cx, sx = math.cos(z_rad), math.sin(z_rad), math.cos(x_rad), math.sin(x_rad)
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    return about_x @ about_z


DIRECTIONS = {
    "straight": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "permuted": np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "oblique": _rotation(0.3, -0.7),
    "oblique and mirrored": _rotation(-1.1, 0.4) @ np.diag([1.0, -1.0, 1.0]),
}


def _write(path, array, spacing_zyx, direction):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(tuple(spacing_zyx[::-1]))
    image.SetOrigin((-31.5, 12.25, 700.0))
    image.SetDirection(tuple(direction.ravel()))
    sitk.WriteImage(image, str(path))


def _case(folder, spacing_zyx, direction, ending):
    """An image that is zero in a margin, and labels inside what is left; every label voxel has a place of its own."""
    rng = np.random.default_rng(0)
    image = np.zeros(SHAPE, np.float32)
    image[1:-1, 2:-1, 1:-2] = rng.uniform(1, 2, image[1:-1, 2:-1, 1:-2].shape)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:-1, 2:-1, 1:-2] = rng.integers(0, 3, labels[1:-1, 2:-1, 1:-2].shape)
    _write(folder / f"image{ending}", image, spacing_zyx, direction)
    _write(folder / f"labels{ending}", labels, spacing_zyx, direction)
    return folder / f"image{ending}", folder / f"labels{ending}"


def _plan(image, labels, grid, recipe):
    case = case_fingerprint("case", image, labels, grid, 2)
    fingerprint = Fingerprint(
        task="Task99_Round",
        dimension=3,
        channels=(Channel(name="MR", is_ct=False),),
        labels=(Label(value=1, name="a"), Label(value=2, name="b")),
        cases=(case,),
        intensities=None,
    )
    return make_plan(fingerprint, recipe=recipe, choices=Choices())


def _assert_same_place(found, expected):
    """Every corner of the grid lies where it lay."""
    first, second = sitk.ReadImage(str(found)), sitk.ReadImage(str(expected))
    assert first.GetSize() == second.GetSize()
    for corner in itertools.product(*[(0, size - 1) for size in second.GetSize()]):
        there = [image.TransformIndexToPhysicalPoint(corner) for image in (first, second)]
        np.testing.assert_allclose(*there, atol=1e-3)


@pytest.mark.parametrize("coarse", [0, 1, 2])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_labels_go_through_files_and_preprocessing_and_come_back_in_their_place(tmp_path, name, coarse):
    spacing = [0.8, 0.8, 0.8]
    spacing[coarse] = 3.0
    image_path, labels_path = _case(tmp_path, spacing, DIRECTIONS[name], ".nii.gz")
    image, grid = read_image([image_path])
    labels, _ = read_labels(labels_path)
    plan = _plan(image, labels, grid, "2019")
    assert plan.axis_order[0] == coarse
    # The one case is the median, so nothing is resampled and the labels must come back voxel for voxel.
    prepared = prepare(image, labels, grid, plan, plan.configuration("3d_fullres"))
    restored = prepared.placement.restore(np.maximum(prepared.labels, 0))
    np.testing.assert_array_equal(restored, labels)
    out = tmp_path / "out" / "labels.nii.gz"
    write_labels(out, restored.astype(np.int32), grid)
    back, back_grid = read_labels(out)
    np.testing.assert_array_equal(back, labels)
    # A NIfTI header holds directions as a quaternion in float32.
    np.testing.assert_allclose(back_grid.direction_xyz, DIRECTIONS[name].ravel(), atol=1e-6)
    np.testing.assert_allclose(back_grid.spacing_mm, spacing, rtol=1e-6)
    np.testing.assert_allclose(back_grid.origin_xyz_mm, grid.origin_xyz_mm, rtol=1e-6)
    _assert_same_place(out, labels_path)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_restoring_what_was_placed_is_the_image_in_any_axis_order(tmp_path, order, ending):
    image_path, _ = _case(tmp_path, (0.8, 1.1, 2.0), DIRECTIONS["oblique"], ending)
    image, grid = read_image([image_path])
    working = tuple(SHAPE[axis] for axis in order)
    placement = Placement(
        source_shape_vox=SHAPE,
        axis_order=order,
        crop=Box(start=(0, 0, 0), stop=working),
        crop_spacing_mm=(1.0, 1.0, 1.0),
        prepared_shape_vox=working,
        prepared_spacing_mm=(1.0, 1.0, 1.0),
    )
    np.testing.assert_array_equal(placement.restore(placement.place(image)), image)
    # The same through a file: numbers 0, 1, 2, ... keep their voxel and their millimetres.
    numbered = np.arange(image.size, dtype=np.int32).reshape(SHAPE)
    out = tmp_path / f"numbers{ending}"
    write_labels(out, placement.restore(placement.place(numbered)), grid)
    np.testing.assert_array_equal(read_labels(out)[0], numbered)
    _assert_same_place(out, image_path)
