"""From probabilities on the prepared grid to labels on the source image's own grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Placement
from nnbox.imaging.resample import resample_probabilities
from nnbox.inference.probabilities import average_probabilities, load_probabilities, store_probabilities
from nnbox.records.dataset import Label
from nnbox.records.plan import Resampling
from nnbox.rules.resampling import separate_axis

__all__ = [
    "average_probabilities",
    "labels_on_prepared",
    "labels_on_source",
    "load_probabilities",
    "most_probable",
    "original_values",
    "probabilities_on_crop",
    "separate_axis_back",
    "smallest_unsigned",
    "store_probabilities",
]


def probabilities_on_crop(
    probabilities: NDArray[np.float32], placement: Placement, resampling: Resampling
) -> NDArray[np.float32]:
    """Resample class probabilities from the prepared grid back to the cropped image's grid.

    Linear, with the coarse axis apart by the rule that held on the way in; a 2D configuration is resampled in plane.

    Source: 2019 §2.1; own (linear in cross-validation too)

    Args:
        probabilities: float32 (classes, z, y, x) of shape ``placement.prepared_shape_vox``, working order.
        placement: of the case.
        resampling: of the configuration.

    Returns:
        float32 (classes, z, y, x) on the crop, working order.

    Raises:
        ValueError: the shape is not the prepared shape.
    """
    _check_prepared(probabilities, placement)
    axis = separate_axis_back(placement, resampling)
    return resample_probabilities(probabilities, placement.crop.shape_vox, separate_axis=axis)


def labels_on_prepared(
    probabilities: NDArray[np.float32], source: Placement, target: Placement, resampling: Resampling
) -> NDArray[np.uint8]:
    """Carry a first stage's probabilities to the second stage's prepared grid and take the most probable class.

    Source: 2018 §2.1 (cascade); own (linear)

    Args:
        probabilities: float32 (classes, z, y, x) on ``source``'s prepared grid (low resolution).
        source: placement of the case in the first stage's store.
        target: placement of the same case in the second stage's store; shares the crop.
        resampling: of the first stage.

    Returns:
        uint8 (z, y, x) consecutive labels on ``target``'s prepared grid; on a tie the lowest class.

    Raises:
        ValueError: the placements are of different crops, or there are more than 255 labels.
    """
    _check_prepared(probabilities, source)
    if (source.crop, source.axis_order) != (target.crop, target.axis_order):
        raise ValueError(f"the two stages crop differently: {source.crop} and {target.crop}")
    if len(probabilities) > 256:
        raise ValueError(f"a cascade holds at most 255 labels, not {len(probabilities) - 1}")
    axis = separate_axis_back(source, resampling)
    resampled = resample_probabilities(probabilities, target.prepared_shape_vox, separate_axis=axis)
    return most_probable(resampled).astype(np.uint8, copy=False)


def labels_on_source(probabilities: NDArray[np.float32], placement: Placement) -> NDArray[np.unsignedinteger]:
    """Take the most probable class on the crop and put the labels back on the whole source grid.

    Args:
        probabilities: float32 (classes, z, y, x) on the crop, working order.
        placement: of the case.

    Returns:
        uint8 (uint16 from 257 classes on) (z, y, x) consecutive labels in source order, background outside the crop.
    """
    return placement.restore(most_probable(probabilities))


def most_probable(probabilities: NDArray[np.float32]) -> NDArray[np.unsignedinteger]:
    """Return the class of the highest probability per voxel; on a tie the lowest class. Source: own (ties).

    Args:
        probabilities: (classes, z, y, x).

    Returns:
        (z, y, x) of the smallest unsigned type that holds the classes.
    """
    best = probabilities[0].copy()
    labels = np.zeros(best.shape, dtype=smallest_unsigned(len(probabilities) - 1))
    for index in range(1, len(probabilities)):
        higher = probabilities[index] > best
        np.copyto(best, probabilities[index], where=higher)
        labels[higher] = index
    return labels


def original_values(consecutive: NDArray[np.integer], labels: Sequence[Label]) -> NDArray[np.unsignedinteger]:
    """Turn consecutive labels 0..K back into the data set's own label values.

    Args:
        consecutive: integers, any shape; 0 is background.
        labels: the K foreground labels, ascending value; label i is the i-th of them.

    Returns:
        The same shape in the smallest unsigned type that holds every value of ``labels``.

    Raises:
        ValueError: a label exceeds K.
    """
    values = [0, *(label.value for label in labels)]
    if consecutive.size and int(consecutive.max()) >= len(values):
        raise ValueError(f"label {int(consecutive.max())} found where the task has {len(labels)}")
    table = np.array(values, dtype=smallest_unsigned(max(values)))
    restored: NDArray[np.unsignedinteger] = table[consecutive]
    return restored


def smallest_unsigned(highest: int) -> type[np.unsignedinteger]:
    """Return the smallest unsigned integer type that holds ``highest``."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if highest <= np.iinfo(kind).max:
            return kind
    return np.uint64


def separate_axis_back(placement: Placement, resampling: Resampling) -> int | None:
    """Return the axis along which the way back to the crop takes the nearest voxel, as the way in did, or None."""
    return separate_axis(placement.crop_spacing_mm, resampling.target_spacing_mm, resampling.separate_axis_threshold)


def _check_prepared(probabilities: NDArray[np.float32], placement: Placement) -> None:
    if probabilities.shape[1:] != placement.prepared_shape_vox:
        found, wanted = probabilities.shape[1:], placement.prepared_shape_vox
        raise ValueError(f"probabilities of shape {found} are not on the prepared grid {wanted}")
