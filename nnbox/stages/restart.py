"""``--restart``: the old run is moved aside, never deleted."""

from __future__ import annotations

import time
from pathlib import Path

from nnbox.faults import reached
from nnbox.stages.leftovers import LOCK
from nnbox.stages.presence import NAME as PRESENCE_NAME

_ASIDE = "previous-runs"
# What runs know each other by.
_STAYING = frozenset({_ASIDE, ".lock", "claims", LOCK, PRESENCE_NAME})


def move_aside(output: Path) -> Path | None:
    """Move all of the output folder to ``previous-runs/<time>``; return that folder, or None if there was nothing."""
    if not output.is_dir():
        return None
    entries = [entry for entry in output.iterdir() if entry.name not in _STAYING]
    if not entries:
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    target = output / _ASIDE / stamp
    number = 1
    while target.exists():
        number += 1
        target = output / _ASIDE / f"{stamp}-{number}"
    target.mkdir(parents=True)
    for entry in entries:
        entry.rename(target / entry.name)
        reached("moved aside", entry)
    return target
