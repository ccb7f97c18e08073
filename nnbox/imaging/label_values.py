"""Label values of a data set to the consecutive labels 1..K used inside; the way back is `nnbox.inference.export`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.records.dataset import Label


def to_consecutive(values: NDArray[np.integer], labels: Sequence[Label]) -> NDArray[np.int16]:
    """Number the labels of a map 1..K in ascending order of their values; 0 stays background.

    Args:
        values: integers of any shape, as the data set stores them.
        labels: foreground labels, ascending value.

    Returns:
        int16 of the same shape.

    Raises:
        DataError: a value is neither 0 nor one of ``labels``.
    """
    known = np.array([0, *(label.value for label in labels)], dtype=np.int64)
    places = np.searchsorted(known, values)
    places[places == len(known)] = 0
    wrong = known[places] != values
    if wrong.any():
        found = sorted({int(value) for value in np.unique(values[wrong])})[:5]
        raise DataError(f"label values {found} are unknown; known are {known.tolist()}")
    return places.astype(np.int16)
