"""Cases ranked by how well they were predicted, and which of them are shown. Source: own."""

from __future__ import annotations

from nnbox.evaluation.summary import mean_of_defined
from nnbox.records.results import Candidate, CaseScores

ROLES = ("worst", "median", "best")


def case_dice(case: CaseScores) -> float | None:
    """Return the mean over labels of a case's Dice, None where no label defines it."""
    return mean_of_defined([label.dice for label in case.labels])


def shown_cases(winner: Candidate) -> tuple[tuple[str, int], ...]:
    """Return (role, index of the case) of the cases to be shown: ranked by mean Dice over labels, ties by name.

    Fewer than three cases are shown once each, under the first role they have.
    """
    ranked = sorted(
        (dice, case.case, index) for index, case in enumerate(winner.cases) if (dice := case_dice(case)) is not None
    )
    if not ranked:
        return ()
    wanted = (ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1])
    found: dict[int, str] = {}
    for role, (_, _, index) in zip(ROLES, wanted, strict=True):
        found.setdefault(index, role)
    return tuple((role, index) for index, role in found.items())
