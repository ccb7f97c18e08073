"""The batchgenerators door: a drawn augmentation applied to a patch of a case.

Order: elastic deformation, rotation and scaling in one interpolation; changes of the previous stage's labels; gamma;
mirroring. Source: 2018 §2.3, 2019 §2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from batchgenerators.augmentations.utils import (
    create_zero_centered_coordinate_mesh,
    interpolate_img,
    rotate_coords_2d,
    rotate_coords_3d,
    scale_coords,
)
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nnbox.records.augmentation import Elastic, SampleAugmentation
from nnbox.training.noise import white_noise
from nnbox.training.patches import RANGE_EPSILON, Arrays, cut_patch
from nnbox.training.previous import change_previous

IMAGE_ORDER = 3
LABEL_ORDER = 1
SPLINE_REACH_VOX = 12  # the spline's prefilter has forgotten a voxel at this distance (0.27^12 < 1e-6)

Coordinates = NDArray[np.float64]


def augment_patch(
    case: Arrays,
    *,
    start: Sequence[int],
    shape: tuple[int, ...],
    augmentation: SampleAugmentation,
    slice_axis: int | None,
) -> Arrays:
    """Cut a patch out of a case and augment it.

    A moved patch is interpolated from the case itself, so its corners hold image where there is some; beyond the case
    they are 0. A patch that is not moved is copied. Labels are never "outside" in the result.

    Args:
        case: arrays (…, z, y, x), possibly mapped files.
        start: first voxel of the patch in the case.
        shape: of the patch, 3 axes; a 2D patch is one slice.
        augmentation: what was drawn; its mirror axes are axes of ``shape``.
        slice_axis: axis along which all slices are deformed alike, in their plane; None deforms in 3D.
    """
    axes = tuple(axis for axis in range(3) if axis != slice_axis)
    relative = sample_coordinates(augmentation, tuple(shape[axis] for axis in axes))
    if relative is None:
        patch = cut_patch(case, start, shape)
    else:
        centre = np.array([start[axis] + (shape[axis] - 1) / 2 for axis in axes])
        places = relative + centre.reshape((-1, *(1,) * len(axes)))
        patch = _warp(case, places) if slice_axis is None else _warp_slices(case, places, slice_axis, (start, shape))
    previous = None if patch.previous is None else change_previous(patch.previous, augmentation)
    image = change_intensities(patch.image, augmentation.gammas)
    return _mirror(Arrays(image=image, labels=patch.labels, previous=previous), augmentation.mirror_axes)


def sample_coordinates(augmentation: SampleAugmentation, shape: tuple[int, ...]) -> Coordinates | None:
    """Return where each voxel of a patch is read, relative to the patch's centre; None when nothing moves.

    Args:
        augmentation: its elastic deformation, rotation and scale, applied in this order.
        shape: 2 or 3 sizes in voxels.

    Returns:
        float64 (axes, *shape), in voxels.
    """
    if augmentation.elastic is None and augmentation.angles_rad is None and augmentation.scale is None:
        return None
    places: Coordinates = create_zero_centered_coordinate_mesh(shape)
    if augmentation.elastic is not None:
        places += elastic_offsets(augmentation.elastic, shape)
    return _turned_and_scaled(augmentation, places)


def _turned_and_scaled(augmentation: SampleAugmentation, places: Coordinates) -> Coordinates:
    if augmentation.angles_rad is not None:
        rotate = rotate_coords_2d if len(places) == 2 else rotate_coords_3d
        places = rotate(places, *augmentation.angles_rad)
    if augmentation.scale is not None:
        places = scale_coords(places, augmentation.scale)
    return places


def elastic_offsets(elastic: Elastic, shape: tuple[int, ...]) -> Coordinates:
    """Return (axes, *shape) offsets in voxels: noise in [-1, 1] from the record's own seed, smoothed, times alpha.

    As batchgenerators' ``elastic_deform_coordinates``, whose noise comes from a global generator. Source: release.
    """
    noise = white_noise(elastic.noise_seed, (len(shape), *shape)).astype(np.float64)
    smooth = [gaussian_filter(axis, elastic.sigma, mode="constant", cval=0.0) for axis in noise]
    return np.stack(smooth) * elastic.alpha


def change_intensities(image: NDArray[np.float32], gammas: Sequence[float | None]) -> NDArray[np.float32]:
    """Raise each channel, scaled to [0, 1], to its exponent and give it back its mean and standard deviation.

    Channels with the exponent None, or without contrast, stay as they are. Source: release.
    """
    changed = image.copy()
    for channel, gamma in zip(changed, gammas, strict=True):
        low = channel.min()
        extent = channel.max() - low
        if gamma is None or extent <= RANGE_EPSILON:
            continue
        mean, sd = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
        curved = np.power((channel - low) / extent, np.float32(gamma), dtype=np.float32)
        factor = sd / max(curved.std(dtype=np.float64), RANGE_EPSILON)
        channel[...] = (curved - curved.mean(dtype=np.float64)) * factor + mean
    return changed


def _warp(case: Arrays, places: Coordinates) -> Arrays:
    """Interpolate arrays of 2 or 3 axes at ``places`` (voxels of the case), third order, labels linear per label."""
    low = [int(np.floor(axis.min())) - SPLINE_REACH_VOX for axis in places]
    high = [int(np.ceil(axis.max())) + SPLINE_REACH_VOX + 1 for axis in places]
    window = tuple(
        slice(min(max(first, 0), size), max(min(last, size), 0))
        for first, last, size in zip(low, high, case.labels.shape, strict=True)
    )
    shape = places.shape[1:]
    if any(part.stop <= part.start for part in window):
        return _nothing(case, shape)
    local = places - np.array([part.start for part in window]).reshape((-1, *(1,) * len(shape)))
    image = [_interpolate_channel(channel[window], local) for channel in case.image]
    return Arrays(
        image=np.stack(image),
        labels=_interpolate_labels(np.maximum(case.labels[window], 0), local),
        previous=None if case.previous is None else _interpolate_labels(case.previous[window], local),
    )


def _warp_slices(case: Arrays, places: Coordinates, axis: int, extent: tuple[Sequence[int], tuple[int, ...]]) -> Arrays:
    """Interpolate every slice of the patch (start and shape in ``extent``) along ``axis`` at the same places."""
    start, shape = extent
    slices = []
    for index in range(start[axis], start[axis] + shape[axis]):
        inside = 0 <= index < case.labels.shape[axis]
        plane = _slice(case, axis, index if inside else 0)
        slices.append(_warp(plane, places) if inside else _nothing(plane, places.shape[1:]))
    previous = [part.previous for part in slices if part.previous is not None]
    return Arrays(
        image=np.stack([part.image for part in slices], axis=1 + axis),
        labels=np.stack([part.labels for part in slices], axis=axis),
        previous=np.stack(previous, axis=axis) if previous else None,
    )


def _slice(case: Arrays, axis: int, index: int) -> Arrays:
    at: tuple[slice | int, ...] = (*(slice(None),) * axis, index)
    return Arrays(
        image=case.image[(slice(None), *at)],
        labels=case.labels[at],
        previous=None if case.previous is None else case.previous[at],
    )


def _nothing(case: Arrays, shape: tuple[int, ...]) -> Arrays:
    return Arrays(
        image=np.zeros((case.image.shape[0], *shape), dtype=np.float32),
        labels=np.zeros(shape, dtype=np.int16),
        previous=None if case.previous is None else np.zeros(shape, dtype=np.uint8),
    )


def _interpolate_channel(channel: NDArray[np.float32], places: Coordinates) -> NDArray[np.float32]:
    moved: NDArray[np.float32] = interpolate_img(channel, places, order=IMAGE_ORDER, mode="constant", cval=0.0)
    return moved


def _interpolate_labels(labels: NDArray[Any], places: Coordinates) -> NDArray[Any]:
    if not labels.any():
        return np.zeros(places.shape[1:], dtype=labels.dtype)
    moved: NDArray[Any] = interpolate_img(labels, places, order=LABEL_ORDER, mode="constant", cval=0, is_seg=True)
    return moved


def _mirror(patch: Arrays, axes: tuple[int, ...]) -> Arrays:
    spatial = tuple(axis + 1 for axis in axes)
    return Arrays(
        image=np.ascontiguousarray(np.flip(patch.image, spatial)),
        labels=np.ascontiguousarray(np.flip(patch.labels, axes)),
        previous=None if patch.previous is None else np.ascontiguousarray(np.flip(patch.previous, axes)),
    )
