"""Carrying out the post-processing that was selected. Source: 2018 §2.5."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnbox.imaging.components import largest_component, largest_components
from nnbox.records.results import PostprocessingStep

_Label = TypeVar("_Label", bound=np.signedinteger | np.unsignedinteger)


def apply_postprocessing(labels: NDArray[_Label], steps: Sequence[PostprocessingStep]) -> NDArray[_Label]:
    """Keep the largest component for each step in turn; a step of label 0 takes all foreground as one.

    Args:
        labels: (z, y, x) consecutive labels on the source grid; not changed.
        steps: the accepted steps, in order.

    Returns:
        A new array of the same type.
    """
    result = labels.copy()
    # Steps of single labels do not depend on each other; those in a row are done at once.
    for whole, group in itertools.groupby(steps, key=lambda step: step.label == 0):
        if whole:
            result = largest_component(result, None)
        else:
            result = largest_components(result, tuple(dict.fromkeys(step.label for step in group)))
    return result
