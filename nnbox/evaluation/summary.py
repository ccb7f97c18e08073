"""Means over cases: per label over the cases that define the measure, then over labels. Source: own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nnbox.records.results import CaseScores


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """Means of one label over the cases that define each measure; None where no case does.

    Attributes:
        dice, surface_dice, hd95_mm: means.
        cases: number of cases that define the Dice.
    """

    dice: float | None
    surface_dice: float | None
    hd95_mm: float | None
    cases: int


def mean_dice_per_label(cases: Sequence[CaseScores]) -> tuple[float | None, ...]:
    """Return each label's mean Dice over the cases in which it is defined, None where there is none.

    Raises:
        ValueError: the cases differ in their number of labels.
    """
    return tuple(label.dice for label in summarize(cases))


def mean_dice(cases: Sequence[CaseScores]) -> float | None:
    """Return the mean over labels of `mean_dice_per_label`; labels that no case defines are left out."""
    return mean_of_defined(mean_dice_per_label(cases))


def summarize(cases: Sequence[CaseScores]) -> tuple[LabelSummary, ...]:
    """Return the means of every measure, one entry per label (none where there are no cases).

    Raises:
        ValueError: the cases differ in their number of labels.
    """
    by_label = zip(*(case.labels for case in cases), strict=True)
    return tuple(
        LabelSummary(
            dice=mean_of_defined(scores.dice for scores in label),
            surface_dice=mean_of_defined(scores.surface_dice for scores in label),
            hd95_mm=mean_of_defined(scores.hd95_mm for scores in label),
            cases=sum(scores.dice is not None for scores in label),
        )
        for label in by_label
    )


def mean_of_defined(values: Iterable[float | None]) -> float | None:
    """Return the mean of what is not None, or None where nothing is left."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
