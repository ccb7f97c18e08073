"""The statistics of the report: means with bootstrap intervals, and candidates compared case by case. Source: own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nnbox.evaluation.summary import mean_of_defined
from nnbox.randomness import generator

RESAMPLES = 5000
CONFIDENCE = 0.95
_SEED = 0
Values = Sequence[float | None]


def defined(values: Values) -> tuple[float, ...]:
    """Return what is not None."""
    return tuple(value for value in values if value is not None)


def median_of(values: Values) -> float | None:
    """Return the median of what is defined, or None."""
    found = defined(values)
    return float(np.median(found)) if found else None


def mean_interval(values: Values) -> tuple[float, float] | None:
    """Return the 95 % percentile bootstrap interval of the mean over what is defined; None for fewer than two values.

    The cases are drawn with replacement 5000 times, with a fixed seed that depends on their number alone: the same
    values give the same interval, and columns of a table are drawn alike.
    """
    found = np.asarray(defined(values), dtype=np.float64)
    if found.size < 2:
        return None
    means = _draws(found.size) @ found / found.size
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    # A product rounds differently from a sum: where all values are equal the ends are that value.
    least, most = float(found.min()), float(found.max())
    return min(max(float(low), least), most), min(max(float(high), least), most)


@lru_cache(maxsize=4)
def _draws(count: int) -> NDArray[np.float64]:
    """Return how often each of ``count`` cases occurs in each resample: (resamples, count)."""
    rng = generator(_SEED, f"bootstrap/{count}")
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """One candidate against another on the same cases.

    Attributes:
        differences: one minus the other, of each case where both are defined.
        mean: of the differences, or None.
        interval: of that mean, or None.
        better, worse: in how many cases the difference is above and below 0.
    """

    differences: tuple[float, ...]
    mean: float | None
    interval: tuple[float, float] | None
    better: int
    worse: int


def compare(one: Values, other: Values) -> Paired:
    """Compare two candidates case by case.

    Raises:
        ValueError: they were not scored on the same number of cases.
    """
    pairs = zip(one, other, strict=True)
    differences = tuple(a - b for a, b in pairs if a is not None and b is not None)
    return Paired(
        differences=differences,
        mean=mean_of_defined(differences),
        interval=mean_interval(differences),
        better=sum(value > 0 for value in differences),
        worse=sum(value < 0 for value in differences),
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the three quartiles of at least one value."""
    low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)
