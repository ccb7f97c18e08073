"""Changes of the previous stage's labels, so that the second stage does not trust them blindly. Source: release."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects, generate_binary_structure, label

from nnbox.records.augmentation import MaskOperation, SampleAugmentation
from nnbox.rules.augmentation import REMOVAL_LARGEST_SHARE

Mask = NDArray[np.bool_]
_Mask = TypeVar("_Mask")
_Step = Callable[[_Mask, int], _Mask]


def change_previous(labels: NDArray[np.uint8], augmentation: SampleAugmentation) -> NDArray[np.uint8]:
    """Apply the drawn mask operations in order, then the drawn removals, to a copy of the labels (*space)."""
    changed = labels.copy()
    for operation in augmentation.mask_operations:
        _operate(changed, operation)
    for removed, choice in augmentation.removal:
        _remove_component(changed, removed, choice)
    return changed


def dilate(mask: Mask, radius_vox: int) -> Mask:
    """Return every voxel within ``radius_vox`` (Euclidean, inclusive) of the mask: dilation by a ball."""
    if not mask.any():
        return mask
    near = _around(mask, radius_vox)
    grown = mask.copy()
    grown[near] = distance_transform_edt(~mask[near]) <= radius_vox
    return grown


def erode(mask: Mask, radius_vox: int) -> Mask:
    """Return every voxel farther than ``radius_vox`` from the mask's complement; beyond the patch nothing is known."""
    if mask.all() or not mask.any():
        return mask
    near = _around(mask, 1)
    shrunk = mask.copy()
    shrunk[near] = distance_transform_edt(mask[near]) > radius_vox
    return shrunk


def morph(mask: Mask, operator: str, radius_vox: int) -> Mask:
    """Apply ``dilation``, ``erosion``, ``opening`` or ``closing`` with a ball.

    Raises:
        ValueError: another operator.
    """
    return compose(mask, operator, radius_vox, (dilate, erode))


def compose(mask: _Mask, operator: str, radius_vox: int, ball: tuple[_Step[_Mask], _Step[_Mask]]) -> _Mask:
    """Apply an operator made of the two steps ``ball`` (dilation, erosion), whatever they work on; see `morph`."""
    dilation, erosion = ball
    steps = {
        "dilation": (dilation,),
        "erosion": (erosion,),
        "opening": (erosion, dilation),
        "closing": (dilation, erosion),
    }
    if operator not in steps:
        raise ValueError(f"unknown operator {operator!r}")
    for step in steps[operator]:
        mask = step(mask, radius_vox)
    return mask


def _operate(labels: NDArray[np.uint8], operation: MaskOperation) -> None:
    """Change one label in place: what it gains is taken from the others, what it loses becomes background."""
    before = labels == operation.label
    after = morph(before, operation.operator, operation.radius_vox)
    labels[before & ~after] = 0
    labels[after] = operation.label


def _remove_component(labels: NDArray[np.uint8], removed: int, choice: float) -> None:
    """Remove one connected component (diagonals connect) if it covers less than 15 % of the patch."""
    components, count = label(labels == removed, structure=generate_binary_structure(labels.ndim, labels.ndim))
    if count == 0:
        return
    chosen = components == 1 + int(choice * count)
    if np.count_nonzero(chosen) < REMOVAL_LARGEST_SHARE * labels.size:
        labels[chosen] = 0


def _around(mask: Mask, margin_vox: int) -> tuple[slice, ...]:
    """Return the mask's bounding box with a margin, clipped to the array."""
    box = find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(part.start - margin_vox, 0), min(part.stop + margin_vox, size))
        for part, size in zip(box, mask.shape, strict=True)
    )
