"""Connected components of label maps: 26-connected in 3D, hence 8-connected where z == 1. Source: own."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.imaging.crop import bounding_box

_Label = TypeVar("_Label", bound=np.signedinteger | np.unsignedinteger)
_NEIGHBOURS = np.ones((3, 3, 3), dtype=np.bool_)


def largest_component(labels: NDArray[_Label], label: int | None) -> NDArray[_Label]:
    """Keep the largest component (by voxels; the first in (z, y, x) order on ties), clear the others to background.

    Args:
        labels: (z, y, x) integers; not changed.
        label: the label whose components count, the other labels stay as they are; None takes everything above 0 as one
            foreground.

    Returns:
        A new array of the same type.
    """
    result = labels.copy()
    mask = labels > 0 if label is None else labels == label
    box = bounding_box(mask)
    if box is None:
        return result
    inner = mask[box.slices]
    components, count = ndimage.label(inner, structure=_NEIGHBOURS)
    if count > 1:
        sizes = np.bincount(components.reshape(-1), minlength=count + 1)
        # Components are numbered by their first voxel, and argmax takes the first of equals.
        kept = int(np.argmax(sizes[1:])) + 1
        result[box.slices][inner & (components != kept)] = 0
    return result


def count_components(labels: NDArray[_Label], label: int) -> int:
    """Return the number of components of one label in a (z, y, x) map, 0 where it is absent."""
    mask = labels == label
    box = bounding_box(mask)
    return 0 if box is None else _count(mask[box.slices])


def component_counts(labels: NDArray[_Label], label_count: int) -> tuple[int, ...]:
    """Return the number of components of each label 1..label_count, each looked for only where it lies."""
    boxes = ndimage.find_objects(labels, max_label=label_count)
    return tuple(0 if box is None else _count(labels[box] == label) for label, box in enumerate(boxes, start=1))


def _count(mask: NDArray[np.bool_]) -> int:
    return int(ndimage.label(mask, structure=_NEIGHBOURS)[1])
