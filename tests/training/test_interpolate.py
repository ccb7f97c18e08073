"""Reading on a device against batchgenerators' reading, which is scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from batchgenerators.augmentations.utils import interpolate_img
from scipy.ndimage import gaussian_filter, spline_filter
from torch.nn.functional import pad

from nnbox.training import interpolate
from nnbox.training.banded import MARGIN, gaussian_gain, gaussian_matrix, resampling_matrix, spline_matrix
from nnbox.training.interpolate import multiply_axes, read_moved
from nnbox.training.spline import spline_coefficients

SHAPES = [(30, 33, 29), (40, 31), (1, 9, 9), (2, 7), (3, 1, 5), (26, 25, 24)]


def _filters(shape):
    return tuple(torch.from_numpy(spline_matrix(size))[None] for size in shape)


def _volume(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_matrices_and_recursion_filter_as_scipy_does(shape):
    volume = _volume(shape)
    batch = torch.from_numpy(volume)[None, None]
    wanted = spline_filter(volume.astype(np.float64), order=3, mode="mirror")
    if min(shape) > 1:  # numpy mirrors an axis of one voxel otherwise
        wanted = np.pad(wanted, MARGIN, mode="reflect")
    else:
        wanted = np.pad(wanted, [(0, 0) if size == 1 else (MARGIN, MARGIN) for size in shape], mode="reflect")
        wanted = np.pad(wanted, [(MARGIN, MARGIN) if size == 1 else (0, 0) for size in shape], mode="edge")
    recursed = spline_coefficients(batch, _filters(shape), torch.tensor([shape]))
    for found in (multiply_axes(batch, _filters(shape)), recursed):
        np.testing.assert_allclose(found[0, 0].numpy(), wanted, atol=3e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("asked", [frozenset({"cpu"}), frozenset()], ids=["asked", "never asked"])
@pytest.mark.parametrize("shape", SHAPES)
def test_images_and_labels_are_read_as_batchgenerators_does(shape, asked, monkeypatch):
    monkeypatch.setattr(interpolate, "ASKED", asked)
    monkeypatch.setattr(interpolate, "PIECE_POINTS", 700)
    volume = _volume(shape)
    labels = np.digitize(gaussian_filter(volume, 1.0), (-0.1, 0.0, 0.1)).astype(np.int16)
    places = np.stack([np.random.default_rng(axis).uniform(-2, size + 1, 3000) for axis, size in enumerate(shape)])
    places[:, :1500] = np.clip(places[:, :1500], 0, np.array(shape)[:, None] - 1)
    image, found = read_moved(
        multiply_axes(torch.from_numpy(volume)[None, None], _filters(shape)),
        (pad(torch.from_numpy(labels)[None, None], (MARGIN, MARGIN) * len(shape)),),
        torch.from_numpy(places).float()[None],
        torch.tensor([shape], dtype=torch.float32),
    )
    exact = torch.from_numpy(places).float().double().numpy()
    np.testing.assert_allclose(image[0, 0], interpolate_img(volume, exact, 3, "constant", 0.0), atol=3e-5)
    wanted = interpolate_img(labels, exact, 1, "constant", 0, is_seg=True)
    assert (found[0, 0].numpy() == wanted).mean() > 0.999  # near ties are decided by rounding


@pytest.mark.parametrize("asked", [frozenset({"cpu"}), frozenset()], ids=["asked", "never asked"])
def test_a_place_on_the_last_voxel_is_inside_however_many_are_not(asked, monkeypatch):
    monkeypatch.setattr(interpolate, "ASKED", asked)
    volume = torch.from_numpy(_volume((1, 9)))
    labels = torch.arange(1, 10, dtype=torch.int16).reshape(1, 1, 1, 9)
    sizes = torch.tensor([[1.0, 9.0]])
    coefficients = spline_coefficients(volume[None, None], _filters((1, 9)), sizes)
    for outside in (-1.0, 12.0, np.nan, np.inf):
        places = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 8.0, outside]]])
        image, found = read_moved(coefficients, (pad(labels, (MARGIN,) * 4),), places, sizes)
        assert found.flatten().tolist() == [1, 9, 0]
        np.testing.assert_allclose(image.flatten().numpy(), [volume[0, 0], volume[0, 8], 0.0], atol=1e-5)


def test_a_scaled_axis_is_read_by_one_matrix():
    line, places = _volume((23,)), np.linspace(-1.5, 24, 40)
    wanted = interpolate_img(line, places[None], 3, "constant", 0.0)
    np.testing.assert_allclose(resampling_matrix(23, places) @ line, wanted, atol=2e-6)


def test_the_gaussian_matrix_is_scipys_filter_with_zeros_beyond():
    noise = _volume((31, 44))
    found = gaussian_matrix(31, 3.3) @ noise @ gaussian_matrix(44, 9.0).T
    np.testing.assert_allclose(found, gaussian_filter(noise.astype(float), (3.3, 9.0), mode="constant"), atol=1e-6)
    white = np.random.default_rng(0).standard_normal(200_000)
    assert gaussian_filter(white, 4.0).std() == pytest.approx(gaussian_gain(4.0), rel=0.03)
