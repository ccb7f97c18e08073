"""Connected components of label maps: 26-connected in 3D, hence 8-connected where z == 1. Source: own.

cc3d numbers the components of all labels in one pass over the map (docs/decisions/0003). What follows is done slab by
slab, so that no array of 8 bytes per voxel is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

import cc3d
import numpy as np
from numpy.typing import NDArray

_Label = TypeVar("_Label", bound=np.signedinteger | np.unsignedinteger)
_CORNERS: Literal[26] = 26
_FACES: Literal[6] = 6
_SLAB_VOX = 1 << 20


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
    _clear_smaller(result, ((labels > 0) if label is None else (labels == label)).view(np.uint8))
    return result


def largest_components(labels: NDArray[_Label], kept: Sequence[int]) -> NDArray[_Label]:
    """Keep the largest component of each of the given labels (each above 0); see `largest_component`.

    As the components of a label do not depend on other labels, all are found in one pass.
    """
    if len(kept) == 1:
        return largest_component(labels, kept[0])
    result = labels.copy()
    present = range(1, int(labels.max(initial=0)) + 1)
    counted = np.array([0, *(label if label in kept else 0 for label in present)], dtype=labels.dtype)
    _clear_smaller(result, counted[np.maximum(labels, 0)])
    return result


def component_counts(labels: NDArray[_Label], label_count: int) -> tuple[int, ...]:
    """Return the number of components of each label 1..label_count in a (z, y, x) map, 0 where it is absent."""
    foreground = labels if labels.min(initial=0) >= 0 else np.maximum(labels, 0)
    numbers = _number(foreground, _CORNERS)
    of_component = np.zeros(int(numbers.max(initial=0)) + 1, dtype=np.int64)
    for part_labels, part_numbers in _foreground(foreground, numbers):
        of_component[part_numbers] = part_labels
    counts = np.bincount(of_component[1:], minlength=label_count + 1)
    return tuple(int(count) for count in counts[1 : label_count + 1])


def connected_with_first(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a (z, y, x) mask that paths over faces connect with its first voxel, which must be set."""
    numbers = _number(mask.view(np.uint8), _FACES)
    connected: NDArray[np.bool_] = numbers == numbers.flat[0]
    return connected


def _clear_smaller(result: NDArray[_Label], labels: NDArray[np.integer]) -> None:
    """Set to 0 in ``result`` what lies in ``labels`` (0: nothing) outside the largest component of each label."""
    numbers = _number(labels, _CORNERS)
    count = int(numbers.max(initial=0))
    sizes = np.zeros(count + 1, dtype=np.int64)
    of_component = np.zeros(count + 1, dtype=np.int64)
    for part_labels, part_numbers in _foreground(labels, numbers):
        sizes += np.bincount(part_numbers, minlength=count + 1)
        of_component[part_numbers] = part_labels
    smaller = np.ones(count + 1, dtype=np.bool_)
    for label in np.unique(of_component[1:]):
        smaller[_largest(np.flatnonzero(of_component == label), sizes, numbers)] = False
    if count == 0 or not smaller[1:].any():
        return
    for span in _slabs(labels):
        where = labels[span] != 0
        kept = result[span]
        kept[where] = np.where(smaller[numbers[span][where]], 0, kept[where])


def _largest(candidates: NDArray[np.intp], sizes: NDArray[np.int64], numbers: NDArray[np.unsignedinteger]) -> int:
    """Return the largest of some components; of equal ones that whose first voxel comes first."""
    largest = candidates[sizes[candidates] == sizes[candidates].max()]
    if largest.size == 1:
        return int(largest[0])
    for span in _slabs(numbers):
        part = numbers[span].reshape(-1)
        found = np.flatnonzero(np.isin(part, largest))
        if found.size:
            return int(part[found[0]])
    raise AssertionError("a component has voxels")


def _number(labels: NDArray[np.integer], neighbours: Literal[6, 26]) -> NDArray[np.unsignedinteger]:
    """Number the components of every label but 0, in any order."""
    found: NDArray[np.unsignedinteger] = cc3d.connected_components(
        np.ascontiguousarray(labels), connectivity=neighbours
    )
    return found


def _foreground(
    labels: NDArray[np.integer], numbers: NDArray[np.unsignedinteger]
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.unsignedinteger]]]:
    """Yield labels and component numbers of the voxels that are not 0, slab by slab."""
    for span in _slabs(labels):
        where = labels[span] != 0
        if where.any():
            yield labels[span][where], numbers[span][where]


def _slabs(volume: NDArray[np.integer]) -> Iterator[slice]:
    planes = max(1, _SLAB_VOX // max(1, volume.shape[1] * volume.shape[2]))
    for first in range(0, volume.shape[0], planes):
        yield slice(first, first + planes)
