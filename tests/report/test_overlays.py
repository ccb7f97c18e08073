"""Slices of a case as pictures: where they are cut, how they lie, and what is marked."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import io as reader

from nnbox.report.images import CaseImages, window_of
from nnbox.report.overlays import (
    ADDED,
    CONFUSED,
    LONGEST_PX,
    MISSED,
    OUTLINE,
    contact_sheet,
    largest_disagreement,
    pictures,
    planes,
)


def _images(reference, prediction, *, image=None, orientation="SPL", spacing=(1.0, 1.0, 1.0)):
    return CaseImages(
        case="case",
        image=np.zeros(prediction.shape, np.float32) if image is None else image,
        channel="channel MR",
        window=(0.0, 1.0),
        reference=reference,
        prediction=prediction,
        spacing_mm=spacing,
        orientation=orientation,
    )


def _ball(shape, centre, radius):
    grid = np.indices(shape).transpose(1, 2, 3, 0)
    return (np.linalg.norm(grid - np.array(centre), axis=-1) <= radius).astype(np.int16)


@given(st.tuples(*(st.integers(4, 9) for _ in range(3))))
def test_the_largest_disagreement_is_the_middle_of_the_ball_that_is_missed(centre):
    reference = _ball((14, 14, 14), centre, 3)
    reference[0, 0, :3] = 1  # a smaller one elsewhere
    assert largest_disagreement(reference, np.zeros_like(reference)) == centre


def test_where_both_agree_the_planes_go_through_the_foreground():
    ball = _ball((12, 12, 12), (7, 5, 6), 3)
    assert largest_disagreement(ball, ball) == (7, 5, 6)
    assert largest_disagreement(None, ball) == (7, 5, 6)
    nothing = np.zeros((10, 12, 14), np.int16)
    assert largest_disagreement(nothing, nothing) == (5, 6, 7)


@pytest.mark.parametrize(
    ("reference", "prediction", "color"),
    [(1, 0, MISSED), (0, 1, ADDED), (1, 2, CONFUSED)],
)
def test_each_kind_of_disagreement_has_its_colour(reference, prediction, color):
    block = np.zeros((3, 12, 12), np.int16)
    block[:, 3:9, 3:9] = 1
    plane = planes(_images(block * reference, block * prediction))[0]
    middle = plane.marked[plane.marked.shape[0] // 2, plane.marked.shape[1] // 2].astype(float)
    wanted = np.array(color, float)
    # On black the tint is a share of its colour: the same direction.
    assert middle @ wanted / np.linalg.norm(middle) / np.linalg.norm(wanted) > 0.999
    assert (plane.plain == 0).all()


def test_the_outline_is_of_the_reference_and_agreement_is_left_clear():
    block = np.zeros((3, 20, 20), np.int16)
    block[:, 5:15, 5:15] = 1
    plane = planes(_images(block, block))[0]
    colored = plane.marked.any(axis=-1)
    assert (plane.marked[colored] == OUTLINE).all()
    assert not colored[plane.marked.shape[0] // 2, plane.marked.shape[1] // 2]
    assert plane.said == "they agree in this slice"


def test_pictures_have_square_pixels_whatever_the_spacing():
    block = np.ones((10, 20, 30), np.int16)
    shapes = [p.plain.shape[:2] for p in planes(_images(block, block, spacing=(3.0, 1.0, 2.0)))]
    lengths = [(20 * 1.0, 30 * 2.0), (10 * 3.0, 30 * 2.0), (10 * 3.0, 20 * 1.0)]
    for (down, across), (rows, columns) in zip(shapes, lengths, strict=True):
        assert max(down, across) == LONGEST_PX
        assert down / across == pytest.approx(rows / columns, rel=0.01)


@pytest.mark.parametrize("orientation", ["SPL", "IAR", "PSL", "LSP", "SPR", "RIA"])
def test_the_same_patient_looks_the_same_however_the_file_lies(orientation):
    """Rows run from head to foot or from front to back, columns from front to back or from right to left."""
    rng = np.random.default_rng(1)
    world = rng.random((7, 8, 9)).astype(np.float32)  # S, P, L
    labels = _ball((7, 8, 9), (3, 4, 4), 2)
    standard = planes(_images(labels, labels, image=world))
    axes = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}
    order = [axes[letter] for letter in orientation]
    flips = [axis for axis, letter in enumerate(orientation) if letter in "IAR"]

    def stored(volume):
        return np.flip(np.transpose(volume, order), flips)

    found = planes(_images(stored(labels), stored(labels), image=stored(world), orientation=orientation))
    for one, other in zip(standard, found, strict=True):
        assert one.caption.split()[0] == other.caption.split()[0]
        np.testing.assert_array_equal(one.plain, other.plain)


def test_a_flat_image_has_one_plane_and_colours_stay_colours():
    labels = np.zeros((1, 16, 16), np.int16)
    image = np.zeros((3, 1, 16, 16), np.uint8)
    image[0] = 200
    (plane,) = planes(_images(labels, labels, image=image))
    assert plane.caption == "image"
    assert (plane.plain == (200, 0, 0)).all()


def test_pictures_are_png_files_of_what_the_planes_hold():
    ball = _ball((12, 12, 12), (6, 6, 6), 3)
    images = _images(ball, np.roll(ball, 1, axis=2))
    for (plain, marked), plane in zip(pictures(images), planes(images), strict=True):
        for picture, pixels in ((plain, plane.plain), (marked, plane.marked)):
            np.testing.assert_array_equal(_decoded(picture.png)[..., :3], pixels)
            assert "case" in plain.alt
            assert picture.alt
    sheet = _decoded(contact_sheet(images))
    assert sheet.shape[0] > 2 * min(plane.plain.shape[0] for plane in planes(images))


def _decoded(png):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reader.imread(io.BytesIO(png))


def test_ct_is_shown_with_a_soft_tissue_window_or_wider():
    image = np.zeros((2, 2, 2), np.float32)
    assert window_of(image, (-50.0, 100.0)) == (-160.0, 240.0)
    assert window_of(image, (-1000.0, 400.0)) == (-1000.0, 400.0)


def test_other_images_are_shown_between_their_percentiles_and_a_constant_one_too():
    values = np.linspace(1, 101, 8**3, dtype=np.float32).reshape(8, 8, 8)
    low, high = window_of(values, None)
    assert 1 <= low < 5
    assert 80 < high <= 101
    for constant in (0.0, 5.0):
        low, high = window_of(np.full((2, 2, 2), constant, np.float32), None)
        assert low < high
