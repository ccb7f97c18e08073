"""Where a run stands, from its files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nnbox.records.events import Event
from nnbox.report.facts import State
from nnbox.stages.presence import BEAT_SECONDS, NAME, Presence, last_presence
from nnbox.stages.run_files import RunFiles
from nnbox.stages.workspace import Workspace

FAILED, INTERRUPTED, FINISHED = "failed", "interrupted", "finished"
"""The events that end a run's log."""
_ENDINGS = {FINISHED: State.FINISHED, FAILED: State.FAILED, INTERRUPTED: State.UNFINISHED}
_SILENCE = timedelta(seconds=12 * BEAT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a run stands.

    Attributes:
        state: finished, running, unfinished or failed.
        remark: what its end said of it, or None.
        session: the events since the start that counts.
    """

    state: State
    remark: str | None
    session: tuple[Event, ...]


def standing(run: RunFiles) -> Standing:
    """Return where a run stands: what its log says of its end, else whether it lives.

    A run lives while it leaves word of itself; one that has not for a minute was killed. A later command that was
    refused before any work (changed options, say) does not make a run what it is: the last that worked counts.
    """
    sessions = _sessions(run.events)
    session = next((item for item in reversed(sessions) if any(event.event == "units" for event in item)), None)
    if session is None or (session is not sessions[-1] and not _has_ended(sessions[-1])):
        session = sessions[-1]
    ending = next((event for event in reversed(session) if event.event in _ENDINGS), None)
    if ending is not None:
        remark = None if ending.event == FINISHED else ending.sentence
        return Standing(state=_ENDINGS[ending.event], remark=remark, session=session)
    state = State.RUNNING if is_alive(presence_near(run.workspace)) else State.UNFINISHED
    return Standing(state=state, remark=None, session=session)


def _sessions(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """Cut a log at its starts; at least one session, which may be empty."""
    starts = [index for index, event in enumerate(events) if event.event == "start"]
    if not starts:
        return [tuple(events)]
    ends = [*starts[1:], len(events)]
    return [tuple(events[start:end]) for start, end in zip(starts, ends, strict=True)]


def _has_ended(session: Sequence[Event]) -> bool:
    return any(event.event in _ENDINGS for event in session)


def is_alive(found: Presence | None) -> bool:
    """Whether a run left word within the last minute, and no last word."""
    if found is None or found.ended is not None:
        return False
    return datetime.now().astimezone() - datetime.fromisoformat(found.beat) < _SILENCE


def presence_near(workspace: Workspace) -> Presence | None:
    """Return the word that the run left; with several tasks it lies above them."""
    folder = workspace.root
    return next((found for place in (folder, folder.parent) if (found := last_presence(place / NAME))), None)
