"""Which part of a case a moved patch is read from. Numbers of the host alone, so that a device need not be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.records.augmentation import Elastic, SampleAugmentation
from nnbox.training.banded import gaussian_gain

REACH_VOX = 9  # how far beyond a place voxels matter: the spline's prefilter forgets, 0.27^9 < 1e-5
SAFE_DEVIATIONS = 6.0  # of elastic offsets: one in 10^9 independent ones is larger, and a patch holds some thousands
NOISE_SD = 3.0**-0.5  # of uniform noise in [-1, 1]


def linear_part(augmentation: SampleAugmentation, axes: int) -> NDArray[np.float64]:
    """Return the (axes, axes) matrix of rotation and scaling: places are its products with offsets from the centre.

    What `nnbox.training.apply` asks of batchgenerators, in its order of axes; a device needs no such library.
    """
    matrix = np.eye(axes)
    planes = ((0, 1),) if axes == 2 else ((1, 2), (2, 0), (0, 1))
    angles_rad = augmentation.angles_rad or (0.0,) * len(planes)
    for (first, second), angle in zip(planes, angles_rad, strict=True):
        turn = np.eye(axes)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    scaled: NDArray[np.float64] = matrix.T * (1.0 if augmentation.scale is None else augmentation.scale)
    return scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A box of a case around all places that a patch is read at, on the axes that it is moved along.

    Attributes:
        low, size: first voxel and extent, inside the case.
        linear: (axes, axes), rotation and scale.
        centre: of the patch, in voxels of the box.
        scaled_only: neither turned nor deformed, so that every axis can be read apart.
    """

    low: tuple[int, ...]
    size: tuple[int, ...]
    linear: NDArray[np.float64]
    centre: NDArray[np.float64]
    scaled_only: bool


def moves(augmentation: SampleAugmentation) -> bool:
    """Whether a patch is interpolated at all."""
    drawn = (augmentation.elastic, augmentation.angles_rad, augmentation.scale)
    return any(part is not None for part in drawn)


def window(
    augmentation: SampleAugmentation, start: Sequence[int], shape: Sequence[int], case_shape: Sequence[int]
) -> Window:
    """Choose the window of a moved patch.

    Args:
        augmentation: what was drawn.
        start: first voxel of the patch, on the axes that it is moved along.
        shape: of the patch, on the same axes.
        case_shape: of the case, on the same axes.
    """
    axes = len(shape)
    linear = linear_part(augmentation, axes)
    half = (np.array(shape) - 1) / 2
    reach = np.abs(linear) @ (half + largest_offset(augmentation.elastic, axes))
    centre = np.array(start) + half
    last = np.array(case_shape) - 1
    low = np.clip(np.floor(centre - reach) - REACH_VOX, 0, last).astype(int)
    high = np.clip(np.ceil(centre + reach) + REACH_VOX, 0, last).astype(int)
    size = tuple(int(extent) for extent in high - low + 1)
    only = augmentation.elastic is None and augmentation.angles_rad is None
    return Window(
        low=tuple(int(place) for place in low), size=size, linear=linear, centre=centre - low, scaled_only=only
    )


def largest_offset(elastic: Elastic | None, axes: int) -> float:
    """Return how far an elastic deformation moves a voxel along an axis, at the most, in voxels. Source: own."""
    if elastic is None:
        return 0.0
    return SAFE_DEVIATIONS * elastic.alpha * NOISE_SD * gaussian_gain(elastic.sigma) ** axes
