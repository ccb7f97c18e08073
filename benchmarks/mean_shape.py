"""The baseline that has seen no image: training label frequencies resampled to a case's shape, at the best threshold.

Whatever a network is worth, it must exceed this on every label. Labels are consecutive 1..K, arrays (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

THRESHOLDS = np.arange(0.05, 1.0, 0.05)


@dataclass(frozen=True, slots=True)
class MeanShape:
    """Frequencies of each label on a common grid, and the threshold that was best on the training cases."""

    frequencies: tuple[NDArray[np.float32], ...]
    thresholds: tuple[float, ...]

    def predict(self, label: int, shape: Sequence[int]) -> NDArray[np.bool_]:
        """Return the fixed shape of a label, fitted to a case's shape."""
        return fitted(self.frequencies[label - 1], shape) > self.thresholds[label - 1]


def fitted(volume: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Resample linearly to a shape, voxel edges on voxel edges."""
    factors = [wanted / size for wanted, size in zip(shape, volume.shape, strict=True)]
    return zoom(volume, factors, order=1, mode="nearest", grid_mode=True)


def dice(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """Return the Dice overlap; 1 when both are empty."""
    total = int(reference.sum()) + int(prediction.sum())
    return 1.0 if total == 0 else 2.0 * int((reference & prediction).sum()) / total


def learn(references: Sequence[NDArray[np.integer]], label_count: int) -> MeanShape:
    """Average the labels of the training cases and choose a threshold per label on the same cases."""
    common = tuple(round(float(size)) for size in np.median([item.shape for item in references], axis=0))
    frequencies, thresholds = [], []
    for label in range(1, label_count + 1):
        masks = [item == label for item in references]
        frequency = np.mean([fitted(mask.astype(np.float32), common) for mask in masks], axis=0, dtype=np.float32)
        fits = [fitted(frequency, mask.shape) for mask in masks]
        means = [
            float(np.mean([dice(mask, fit > limit) for mask, fit in zip(masks, fits, strict=True)]))
            for limit in THRESHOLDS
        ]
        frequencies.append(frequency)
        thresholds.append(float(THRESHOLDS[int(np.argmax(means))]))
    return MeanShape(tuple(frequencies), tuple(thresholds))


def mean_dice(shape: MeanShape, references: Sequence[NDArray[np.integer]]) -> tuple[float, ...]:
    """Return the mean Dice per label of the fixed shape on held-out cases."""
    return tuple(
        float(np.mean([dice(item == label, shape.predict(label, item.shape)) for item in references]))
        for label in range(1, len(shape.frequencies) + 1)
    )
