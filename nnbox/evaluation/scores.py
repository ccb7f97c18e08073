"""Scores of one case: Dice, surface Dice and HD95 of each label.

What the measures are where a mask is empty, decided here and nowhere else:

| label in reference | label in prediction | Dice | surface Dice | HD95 |
|---|---|---|---|---|
| absent | absent | undefined | undefined | undefined |
| absent | present | 0 | 0 | undefined |
| present | absent | 0 | 0 | undefined |

An undefined value is None and is left out of means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.evaluation.surface import hausdorff95_mm, surface_dice, surface_distances
from nnbox.geometry import Spacing3
from nnbox.records.results import CaseScores, LabelScores


def score_case(
    name: str,
    reference: NDArray[np.integer],
    prediction: NDArray[np.integer],
    spacing_mm: Spacing3,
    label_count: int,
    tolerance_mm: float,
) -> CaseScores:
    """Score a prediction against its reference, label by label.

    Source: own.

    Args:
        name: the case.
        reference: (z, y, x) consecutive labels; -1 counts as background.
        prediction: the same.
        spacing_mm: (z, y, x).
        label_count: number of foreground labels.
        tolerance_mm: of the surface Dice.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"{name}: the reference has {reference.shape} voxels, the prediction {prediction.shape}")
    boxes = (_boxes(reference, label_count), _boxes(prediction, label_count))
    scores = []
    for label, pair in enumerate(zip(*boxes, strict=True), start=1):
        box = _union([box for box in pair if box is not None])
        masks = (reference[box] == label, prediction[box] == label)
        # The image decides what is flat, not the box: a label of one slice in a volume has a surface above and below.
        scores.append(score_masks(*masks, spacing_mm, tolerance_mm, flat=reference.shape[0] == 1))
    return CaseScores(case=name, labels=tuple(scores))


def dice_of_case(
    reference: NDArray[np.integer], prediction: NDArray[np.integer], label_count: int
) -> tuple[float | None, ...]:
    """Return the Dice of each label alone, without surfaces; undefined where both are empty. See `score_case`."""
    found: list[float | None] = []
    for label in range(1, label_count + 1):
        one, other = reference == label, prediction == label
        voxels = int(np.count_nonzero(one)) + int(np.count_nonzero(other))
        found.append(2 * int(np.count_nonzero(one & other)) / voxels if voxels else None)
    return tuple(found)


def score_masks(
    reference: NDArray[np.bool_],
    prediction: NDArray[np.bool_],
    spacing_mm: Spacing3,
    tolerance_mm: float,
    *,
    flat: bool,
) -> LabelScores:
    """Score one mask against another; see the module for what holds where one is empty.

    A flat image (one slice) is measured in 2D: its surface is the contour.

    Source: own.

    Args:
        reference: (z, y, x) bool.
        prediction: the same.
        spacing_mm: (z, y, x).
        tolerance_mm: of the surface Dice.
        flat: the image has one slice.
    """
    voxels = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    dice, near, hd95_mm = None, None, None
    if all(voxels):
        dice = 2 * int(np.count_nonzero(reference & prediction)) / sum(voxels)
        if flat:
            distances = surface_distances(reference[0], prediction[0], spacing_mm[1:])
        else:
            distances = surface_distances(reference, prediction, spacing_mm)
        near, hd95_mm = surface_dice(distances, tolerance_mm), hausdorff95_mm(distances)
    elif any(voxels):
        dice, near = 0.0, 0.0
    return LabelScores(
        dice=dice,
        surface_dice=near,
        hd95_mm=hd95_mm,
        reference_voxels=voxels[0],
        predicted_voxels=voxels[1],
    )


def _boxes(labels: NDArray[np.integer], label_count: int) -> list[tuple[slice, ...] | None]:
    return [*ndimage.find_objects(labels, max_label=label_count)] if label_count else []


def _union(boxes: list[tuple[slice, ...]]) -> tuple[slice, ...]:
    """Return the smallest box that holds all boxes: an empty one where there is none."""
    if not boxes:
        return (slice(0, 1), slice(0, 0), slice(0, 0))
    return tuple(
        slice(min(part.start for part in axis), max(part.stop for part in axis)) for axis in zip(*boxes, strict=True)
    )
