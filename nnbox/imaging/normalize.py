"""Bringing intensities to a common scale, as the plan says for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.imaging.moments import mean_and_squares
from nnbox.records.plan import Normalization, NormalizationScheme

_SMALLEST_SD = 1e-8


def normalize(
    image: NDArray[np.float32],
    normalizations: Sequence[Normalization],
    mask: NDArray[np.bool_],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Normalise each channel.

    CT: clip to the training foreground's percentiles, then (x - mean) / sd with its global values. Otherwise
    (x - mean) / (sd + 1e-8) with the case's own values. Under the mask rule a case's values are taken inside the mask,
    and everything outside it becomes 0.

    Source: 2018 §2.2.

    Args:
        image: (channel, z, y, x) float32; not changed, unless it is ``out``.
        normalizations: one per channel.
        mask: (z, y, x) bool, the non-zero region.
        out: takes the result; may be the image itself. None: a new array.

    Returns:
        The result, of the image's shape and type.
    """
    result = np.empty(image.shape, dtype=np.float32) if out is None else out
    for channel, target, rule in zip(image, result, normalizations, strict=True):
        if rule.scheme is NormalizationScheme.CT:
            _ct(channel, target, rule)
        else:
            _zscore(channel, target, mask if rule.use_nonzero_mask else None)
        if rule.use_nonzero_mask:
            target[~mask] = 0
    return result


def _ct(channel: NDArray[np.float32], target: NDArray[np.float32], rule: Normalization) -> None:
    if rule.lower is None or rule.upper is None or rule.mean is None or rule.sd is None:
        raise ValueError("a CT channel needs the training set's foreground statistics")
    np.clip(channel, np.float32(rule.lower), np.float32(rule.upper), out=target)
    target -= np.float32(rule.mean)
    target /= np.float32(max(rule.sd, _SMALLEST_SD))


def _zscore(channel: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
    values = channel if mask is None else channel[mask]
    mean, squares = mean_and_squares(values)
    sd = math.sqrt(squares / max(values.size, 1))
    np.subtract(channel, np.float32(mean), out=target)
    target /= np.float32(sd + _SMALLEST_SD)
