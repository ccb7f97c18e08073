"""Do the cases agree with each other where nothing else says what is right?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nnbox.errors import Problem, Severity
from nnbox.intake.facts import CaseFacts
from nnbox.records.dataset import Case


def channel_problems(facts: Sequence[CaseFacts], channels: int, cases: Mapping[str, Case]) -> tuple[Problem, ...]:
    """Report the cases that do not have the data set's number of channels."""
    return tuple(
        _odd_one(case, f"it has {case.channels} channel(s)", f"{channels} channel(s), as the other cases have", cases)
        for case in facts
        if case.channels != channels
    )


def dimension_problems(
    facts: Sequence[CaseFacts], stated: int | None, cases: Mapping[str, Case]
) -> tuple[int, tuple[Problem, ...]]:
    """Return 2 or 3, what the file endings or most images are, and the cases that are not."""
    counts = Counter(case.dimension for case in facts)
    dimension = stated or (max(counts, key=lambda kind: (counts[kind], kind)) if counts else 3)
    problems = tuple(
        _odd_one(case, f"it is a {case.dimension}D image", f"{dimension}D, as the other cases are", cases)
        for case in facts
        if case.dimension != dimension
    )
    return dimension, problems


def _odd_one(case: CaseFacts, what: str, expected: str, cases: Mapping[str, Case]) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        what=what,
        expected=expected,
        remedy=f"replace its files, or leave it out with --exclude {case.name}",
        case=case.name,
        file=cases[case.name].images[0],
    )
