"""Cases ranked by how well they were predicted, and which of them are shown. Source: own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnbox.evaluation.summary import mean_of_defined
from nnbox.records.plan import Folds
from nnbox.records.results import Candidate, CaseScores, CrossValidation, Selection
from nnbox.report.numbers import token

ROLES = ("worst", "median", "best")


def case_dice(case: CaseScores) -> float | None:
    """Return the mean over labels of a case's Dice, None where no label defines it."""
    return mean_of_defined([label.dice for label in case.labels])


def fold_values(winner: Candidate, folds: Folds) -> dict[int, tuple[str, list[float]]]:
    """Return, for each fold with scored cases, their place in the candidate and the mean Dice of each."""
    found: dict[int, tuple[str, list[float]]] = {}
    for fold, names in enumerate(folds.validation):
        own = [(index, case_dice(case)) for index, case in enumerate(winner.cases) if case.case in names]
        scored = [(index, value) for index, value in own if value is not None]
        if scored:
            places = ",".join(str(index) for index, _ in scored)
            found[fold] = (f"/cases/{places}/labels/@/dice", [value for _, value in scored])
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalDice:
    """Dice of one label in one case after post-processing, and where it is written (see `nnbox.report.numbers`)."""

    value: float | None
    source: str


def final_dice(evidence: CrossValidation, selection: Selection, chosen: int) -> tuple[tuple[FinalDice, ...], ...]:
    """Return, for each case of the chosen candidate and each label, the Dice after all accepted steps.

    A step's evidence names the cases it changes; the others keep what they had.
    """
    changes: dict[str, tuple[str, Sequence[float | None]]] = {}
    for index, trial in enumerate(selection.trials):
        if trial.accepted:
            place = f"selection.json#/trials/{index}/changed_cases"
            changes |= {case: (f"{place}/{token(case)}/1", pair[1]) for case, pair in trial.changed_cases.items()}
    found = []
    for number, case in enumerate(evidence.candidates[chosen].cases):
        if case.case in changes:
            place, values = changes[case.case]
            found.append(tuple(FinalDice(value=value, source=f"{place}/{n}") for n, value in enumerate(values)))
        else:
            place = f"crossvalidation.json#/candidates/{chosen}/cases/{number}/labels"
            labels = enumerate(case.labels)
            found.append(tuple(FinalDice(value=label.dice, source=f"{place}/{n}/dice") for n, label in labels))
    return tuple(found)


def ranked_cases(evidence: CrossValidation, selection: Selection, chosen: int) -> tuple[int, ...]:
    """Return the places of the chosen candidate's cases, worst first, by mean Dice over labels after post-processing.

    Ties go by name; cases without a defined Dice are left out.
    """
    names = [case.case for case in evidence.candidates[chosen].cases]
    finals = final_dice(evidence, selection, chosen)
    means = [mean_of_defined([item.value for item in labels]) for labels in finals]
    scored = [(mean, names[index], index) for index, mean in enumerate(means) if mean is not None]
    return tuple(index for _, _, index in sorted(scored))


def shown_cases(ranked: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return (role, place) of the worst, the median and the best case; fewer than three are shown once each."""
    if not ranked:
        return ()
    wanted = (ranked[0], ranked[(len(ranked) - 1) // 2], ranked[-1])
    found: dict[int, str] = {}
    for role, place in zip(ROLES, wanted, strict=True):
        found.setdefault(place, role)
    return tuple((role, place) for place, role in found.items())
