"""Normalisation against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnbox.imaging.normalize import normalize
from nnbox.records.plan import Normalization, NormalizationScheme

_ZSCORE = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False)
_MASKED = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=True)
_CT = Normalization(scheme=NormalizationScheme.CT, use_nonzero_mask=False, mean=50.0, sd=20.0, lower=-10.0, upper=110.0)


def _image(*values):
    return np.array(values, dtype=np.float32).reshape(1, 1, 1, -1)


def _everything(image):
    return np.ones(image.shape[1:], dtype=bool)


def test_a_z_score_uses_the_population_sd_of_the_case():
    image = _image(2, 4, 4, 4, 5, 5, 7, 9)  # mean 5, sd 2
    result = normalize(image, [_ZSCORE], _everything(image))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.ravel(), [-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2], atol=1e-6)


def test_ct_is_clipped_and_scaled_by_the_training_foreground():
    image = _image(-1000, -10, 50, 70, 110, 3000)
    result = normalize(image, [_CT], _everything(image))
    np.testing.assert_allclose(result.ravel(), [-3, -3, 0, 1, 3, 3], atol=1e-6)


def test_under_the_mask_rule_statistics_come_from_inside_and_outside_is_zero():
    image = _image(100, 2, 4, 4, 4, 5, 5, 7, 9, -3)
    mask = np.ones((1, 1, 10), dtype=bool)
    mask[..., [0, -1]] = False
    result = normalize(image, [_MASKED], mask)
    np.testing.assert_allclose(result.ravel(), [0, -1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2, 0], atol=1e-6)


def test_a_constant_channel_becomes_zero():
    image = _image(7, 7, 7)
    assert not normalize(image, [_ZSCORE], _everything(image)).any()


def test_an_empty_mask_gives_zeros():
    image = _image(1, 2, 3)
    assert not normalize(image, [_MASKED], ~_everything(image)).any()


def test_channels_are_normalised_apart_and_the_input_is_left_alone():
    image = np.concatenate([_image(0, 2), _image(30, 70)])
    before = image.copy()
    result = normalize(image, [_ZSCORE, _CT], _everything(image))
    np.testing.assert_allclose(result.reshape(2, 2), [[-1, 1], [-1, 1]], atol=1e-6)
    assert np.array_equal(image, before)


def test_large_values_do_not_spoil_the_statistics():
    rng = np.random.default_rng(0)
    image = (30_000 + rng.normal(size=(1, 40, 60, 600))).astype(np.float32)
    result = normalize(image, [_ZSCORE], _everything(image))
    exact = image.astype(np.float64)
    np.testing.assert_allclose(result, (exact - exact.mean()) / (exact.std() + 1e-8), atol=2e-3)


def test_ct_without_training_statistics_is_refused():
    geometry_only = Normalization(scheme=NormalizationScheme.CT, use_nonzero_mask=False)
    with pytest.raises(ValueError, match="foreground statistics"):
        normalize(_image(1), [geometry_only], np.ones((1, 1, 1), dtype=bool))
