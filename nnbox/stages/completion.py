"""Before a run says that it is complete: does every prediction say anything?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnbox.records.dataset import Case
from nnbox.records.events import read_events

_MOST_NAMES = 6


def background_only(log: Path, cases: Sequence[Case]) -> tuple[str, ...]:
    """Return the cases whose latest prediction holds background only, by the run's log: now or before."""
    latest = {event.facts.get("case"): event for event in read_events(log) if event.event == "predicted"}
    found = (case.name for case in cases if case.name in latest)
    return tuple(name for name in found if latest[name].facts.get("foreground_voxels") == 0)


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
