"""Before a run says that it is complete: does every prediction say anything?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnbox.imaging.io import read_labels
from nnbox.records.dataset import Case
from nnbox.records.events import read_events

_MOST_NAMES = 6


def background_only(log: Path, cases: Sequence[Case], files: Sequence[Path]) -> tuple[str, ...]:
    """Return the cases whose latest prediction holds background only.

    The run's log tells, now or before; what it does not tell (a run was killed on the way, or its disk was full) is
    read from the prediction.

    Args:
        log: of the run.
        cases: that were predicted.
        files: their label maps, in the same order; one that is missing counts as none.
    """
    latest = {event.facts.get("case"): event for event in read_events(log) if event.event == "predicted"}
    empty = []
    for case, file in zip(cases, files, strict=True):
        if case.name in latest:
            count = latest[case.name].facts.get("foreground_voxels")
        else:
            count = int(np.count_nonzero(read_labels(file)[0])) if file.exists() else None
        if count == 0:
            empty.append(case.name)
    return tuple(empty)


def empty_sentence(empty: Sequence[str], count: int) -> str:
    """Say which of so many predictions hold background only."""
    return (
        f"{len(empty)} of {count} predictions hold background only: {few(empty)}. What to do: look at these images "
        "(another region? other channels?) and at the quality flags of the model's report before you use the result"
    )


def few(names: Sequence[str]) -> str:
    """Return names in a list, the first ones where there are many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
