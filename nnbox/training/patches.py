"""Arrays of a case or of a patch, and cutting one out of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANGE_EPSILON = 1e-7  # a channel whose values lie closer together, or deviate less, is taken to be constant


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """What belongs to one region of a case.

    Attributes:
        image: float32 (channel, *space).
        labels: int16 (*space); -1 is outside.
        previous: uint8 (*space), the previous stage's labels, or None where there is no previous stage.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16]
    previous: NDArray[np.uint8] | None


def cut_patch(case: Arrays, start: Sequence[int], shape: Sequence[int]) -> Arrays:
    """Copy the patch of ``shape`` voxels from ``start`` (may be negative); what lies outside the case is 0.

    Labels that are "outside" become background. Source: release.
    """
    size = case.labels.shape
    inside: tuple[slice, ...] = tuple(
        slice(_within(first, end), _within(first + edge, end))
        for first, edge, end in zip(start, shape, size, strict=True)
    )
    placed: tuple[slice, ...] = tuple(
        slice(part.start - first, part.stop - first) for part, first in zip(inside, start, strict=True)
    )
    image = np.zeros((case.image.shape[0], *shape), dtype=np.float32)
    image[(slice(None), *placed)] = case.image[(slice(None), *inside)]
    labels = np.zeros(tuple(shape), dtype=np.int16)
    labels[placed] = np.maximum(case.labels[inside], 0)
    previous = None
    if case.previous is not None:
        previous = np.zeros(tuple(shape), dtype=np.uint8)
        previous[placed] = case.previous[inside]
    return Arrays(image=image, labels=labels, previous=previous)


def _within(place: int, end: int) -> int:
    return min(max(place, 0), end)


def one_hot(labels: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Return (count, *space) float32 maps of the labels 1..count; background has none. Source: 2018 §2.1."""
    values = np.arange(1, count + 1, dtype=np.uint8).reshape((count, *(1,) * labels.ndim))
    return np.equal(labels[None], values).astype(np.float32)
