"""A network that was begun under an earlier layout: how far it is, and how its layout goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnbox.errors import RecordError
from nnbox.records.codec import read_record
from nnbox.records.time_budget import NetworkLayout
from nnbox.training.checkpoint import BEFORE_NAME, RECORD_NAME, CheckpointRecord

_MOST = 0.99


def trained_share(folder: Path) -> float | None:
    """Return the share of a network's schedule that its checkpoint holds, 0 within the first epoch.

    Args:
        folder: of the training unit.

    Returns:
        None where there is no checkpoint to continue from. As training does, it looks at the one before where the
        last is damaged.
    """
    if not (folder / RECORD_NAME).exists():
        return None
    for name in (RECORD_NAME, BEFORE_NAME):
        try:
            return min(_MOST, read_record(folder / name, CheckpointRecord).schedule.progress or 0.0)
        except (RecordError, OSError):
            continue
    return None


def continued_layout(path: Path, layout: NetworkLayout) -> NetworkLayout | None:
    """Return a new layout with epochs as long as they were when the network was begun: a checkpoint lies between them.

    Args:
        path: of the layout with which it was begun.
        layout: as it would be without that.

    Returns:
        About as many steps in all; None where the old layout cannot be read.
    """
    try:
        iterations = read_record(path, NetworkLayout).iterations
        return replace(layout, epochs=max(1, layout.epochs * layout.iterations // iterations), iterations=iterations)
    except (RecordError, OSError, ZeroDivisionError):
        return None
