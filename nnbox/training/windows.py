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
    found: NDArray[np.float64] = _linear_parts((augmentation,), axes)[0]
    return found


def _linear_parts(augmentations: Sequence[SampleAugmentation], axes: int) -> NDArray[np.float64]:
    planes = ((0, 1),) if axes == 2 else ((1, 2), (2, 0), (0, 1))
    angles_rad = np.array([item.angles_rad or (0.0,) * len(planes) for item in augmentations])
    matrices = np.eye(axes)
    turns = np.empty((len(planes), len(augmentations), axes, axes))
    turns[:] = matrices
    for turn, (first, second), cos, sin in zip(turns, planes, np.cos(angles_rad).T, np.sin(angles_rad).T, strict=True):
        turn[:, first, first] = turn[:, second, second] = cos
        turn[:, first, second], turn[:, second, first] = -sin, sin
        matrices = matrices @ turn
    scales = np.array([1.0 if item.scale is None else item.scale for item in augmentations])
    found: NDArray[np.float64] = matrices.transpose(0, 2, 1) * scales[:, None, None]
    return found


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
    """Choose the window of one moved patch; see `windows`."""
    return windows((augmentation,), (start,), shape, (case_shape,))[0]


def windows(
    augmentations: Sequence[SampleAugmentation],
    starts: Sequence[Sequence[int]],
    shape: Sequence[int],
    case_shapes: Sequence[Sequence[int]],
) -> list[Window]:
    """Choose the windows of moved patches, at least one; all at once, for numpy's price is per call.

    Args:
        augmentations: what was drawn.
        starts: first voxels of the patches, on the axes that they are moved along.
        shape: of every patch, on the same axes.
        case_shapes: of the cases, on the same axes.
    """
    axes = len(shape)
    linear = _linear_parts(augmentations, axes)
    half = (np.array(shape) - 1) / 2
    offsets = np.array([largest_offset(item.elastic, axes) for item in augmentations])
    reach = (np.abs(linear) @ (half + offsets[:, None])[..., None])[..., 0]
    centres = np.array(starts) + half
    last = np.array(case_shapes) - 1
    low = np.clip(np.floor(centres - reach) - REACH_VOX, 0, last).astype(int)
    high = np.clip(np.ceil(centres + reach) + REACH_VOX, 0, last).astype(int)
    sizes = high - low + 1
    return [
        Window(
            low=tuple(low[index].tolist()),
            size=tuple(sizes[index].tolist()),
            linear=linear[index],
            centre=centres[index] - low[index],
            scaled_only=item.elastic is None and item.angles_rad is None,
        )
        for index, item in enumerate(augmentations)
    ]


def largest_offset(elastic: Elastic | None, axes: int) -> float:
    """Return how far an elastic deformation moves a voxel along an axis, at the most, in voxels. Source: own."""
    if elastic is None:
        return 0.0
    return SAFE_DEVIATIONS * elastic.alpha * NOISE_SD * gaussian_gain(elastic.sigma) ** axes
