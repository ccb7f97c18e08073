"""Cross-validation folds: shuffled, reproducible, patients kept whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnbox.errors import DataError, Problem, Severity
from nnbox.records.plan import Folds

FOLD_SEED = 12345
FOLD_COUNT = 5
FEWEST_FOLDS = 2


def make_folds(cases: Sequence[str], *, groups: Mapping[str, str], count: int = FOLD_COUNT) -> Folds:
    """Split the cases into folds as scikit-learn's shuffled KFold with seed 12345 does over the sorted names.

    Where several cases share a group (a patient), whole groups are split instead, ordered by their first case, so that
    no patient is on both sides. Fewer groups than folds: as many folds as groups.

    Args:
        cases: names of the training cases, any order.
        groups: group of a case, for those that have one; the others are on their own.
        count: folds wanted, at least 2.

    Raises:
        DataError: fewer than two groups: nothing can be held out.

    Source: 2018 §2.3 (five folds), 2019 §3 (patients kept whole), release (seed and order), own (fewer cases)
    """
    members: dict[tuple[str, str], list[str]] = {}
    for case in sorted(cases):
        key = ("group", groups[case]) if case in groups else ("case", case)
        members.setdefault(key, []).append(case)
    bundles = list(members.values())
    folds = min(count, len(bundles))
    if folds < FEWEST_FOLDS:
        raise DataError("cross-validation needs two cases of different patients", (_too_few(len(cases)),))
    validation = tuple(
        tuple(sorted(case for index in part for case in bundles[index])) for part in shuffled_parts(len(bundles), folds)
    )
    return Folds(validation=validation, origin=_origin(folds, count, grouped=len(bundles) < len(cases)))


def shuffled_parts(items: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """Split 0..items-1 into parts: shuffle, then cut; the first items % parts of them are one longer.

    Source: release (scikit-learn's KFold)
    """
    indices = np.arange(items)
    # The published folds come from numpy's old generator; no other stream gives them.
    np.random.RandomState(FOLD_SEED).shuffle(indices)
    return tuple(tuple(sorted(int(index) for index in part)) for part in np.array_split(indices, parts))


def _origin(folds: int, wanted: int, *, grouped: bool) -> str:
    units = "patients" if grouped else "cases"
    text = f"{folds} folds of {units}, shuffled with seed {FOLD_SEED}"
    return text if folds == wanted else f"{text}; {wanted} were wanted, but there are only {folds} {units}"


def _too_few(cases: int) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        what=f"{cases} labelled case{'' if cases == 1 else 's'} of one patient at most",
        expected="at least two labelled cases of different patients, one to learn from and one to check on",
        remedy="add labelled cases, or correct the patients given with --patients",
    )
