"""Which candidate is used for test cases: the best cross-validated mean Dice, ties to the cheaper one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from nnbox.records.results import Candidate

TIE_DICE = 1e-6


def pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return every pair of configurations whose softmax may be averaged, in the order of the names.

    Source: 2018 §2.6, 2019 §2.3
    """
    return tuple(combinations(names, 2))


def choose_candidate(candidates: Sequence[Candidate]) -> tuple[Candidate, str]:
    """Choose the candidate with the highest mean foreground Dice, and say why.

    A difference below 1e-6 from the highest is a tie: the candidate with fewer networks wins, then the one with fewer
    operations per mm³, then the earlier one. Candidates without a defined mean Dice can only win when all lack it.

    Args:
        candidates: at least one; all evaluated on the same cases.

    Returns:
        The winner, and the reason in words with the numbers.

    Raises:
        ValueError: no candidates.

    Source: 2018 §2.6, 2019 §2.3; own (what a tie is and how it is broken)
    """
    scored = [(candidate, candidate.mean_dice) for candidate in candidates if candidate.mean_dice is not None]
    if not scored:
        cheapest = min(candidates, key=_cost)
        return cheapest, (
            f"no candidate has a defined Dice in the cross-validation, so the cheapest of {len(candidates)} is used "
            f"({_costs(cheapest)})"
        )
    highest = max(dice for _, dice in scored)
    tied = [candidate for candidate, dice in scored if highest - dice < TIE_DICE]
    winner = min(tied, key=_cost)
    return winner, _reason(winner, tied, candidates)


def _cost(candidate: Candidate) -> tuple[int, float]:
    return candidate.networks, candidate.operations_per_mm3


def _costs(candidate: Candidate) -> str:
    return f"{candidate.networks} networks, {candidate.operations_per_mm3:.3g} operations per mm³"


def _reason(winner: Candidate, tied: Sequence[Candidate], candidates: Sequence[Candidate]) -> str:
    parts = [f"highest mean Dice {winner.mean_dice:.4f} of {len(candidates)} candidates"]
    if len(candidates) == 1:
        parts = [f"the only candidate, mean Dice {winner.mean_dice:.4f}"]
    if others := [candidate for candidate in tied if candidate is not winner]:
        listed = ", ".join(f"{other.name} ({_costs(other)})" for other in others)
        parts.append(f"tied within {TIE_DICE:g} with {listed}, and cheaper or earlier ({_costs(winner)})")
    rest = [candidate for candidate in candidates if candidate not in tied]
    ranked = sorted((item for item in rest if item.mean_dice is not None), key=lambda item: -(item.mean_dice or 0.0))
    if ranked:
        parts.append(f"next {ranked[0].name} with {ranked[0].mean_dice:.4f}")
    if undefined := [item.name for item in rest if item.mean_dice is None]:
        parts.append(f"without a defined Dice: {', '.join(undefined)}")
    return "; ".join(parts)
