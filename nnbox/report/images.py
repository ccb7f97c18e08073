"""A case as arrays to be shown, and which intensities are shown as black and as white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Spacing3

LEGEND = (
    ("outline", "yellow", "outline of the reference"),
    ("missed", "blue", "missed: in the reference only"),
    ("added", "orange", "added: in the prediction only"),
    ("confused", "pink", "another label than the reference's"),
)
"""What the colours over a picture mean: (name, colour, meaning)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseImages:
    """A case as arrays, in source order.

    Attributes:
        case: its name.
        image: float32 (z, y, x), one channel; or uint8 (3, z, y, x), a colour picture.
        channel: the name of what is shown.
        window: intensities shown as black and as white.
        reference: consecutive labels (z, y, x), or None.
        prediction: the same.
        spacing_mm: (z, y, x).
        orientation: the direction in which each axis (z, y, x) runs, e.g. ``"SPL"``.
    """

    case: str
    image: NDArray[np.generic]
    channel: str
    window: tuple[float, float]
    reference: NDArray[np.integer] | None
    prediction: NDArray[np.integer]
    spacing_mm: Spacing3
    orientation: str


def window_of(image: NDArray[np.floating], ct_range: tuple[float, float] | None) -> tuple[float, float]:
    """Return the intensities to show as black and white.

    CT: soft tissue (-160 to 240 HU), widened to the range that normalisation keeps. Anything else: the 0.5 and 99.5
    percentiles of what is not zero, of every other voxel. Source: own.

    Args:
        image: (z, y, x).
        ct_range: lower and upper limit of the plan's CT normalisation; None for other modalities.
    """
    if ct_range is not None:
        return min(-160.0, ct_range[0]), max(240.0, ct_range[1])
    some = image[:: 2 if image.shape[0] > 1 else 1, ::2, ::2]
    values = some[np.isfinite(some) & (some != 0)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0
