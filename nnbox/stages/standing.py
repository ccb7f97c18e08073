"""Where a run stands, from its files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nnbox.records.events import Event
from nnbox.report.facts import State
from nnbox.stages.presence import BEAT_SECONDS, Presence, presences
from nnbox.stages.run_files import RunFiles
from nnbox.stages.workspace import Workspace

FAILED, INTERRUPTED, FINISHED, PART_FINISHED = "failed", "interrupted", "finished", "part_finished"
"""The events that end a run; the last one leaves the end of the whole to runs that still train."""
ENDINGS = {
    FINISHED: State.FINISHED,
    FAILED: State.FAILED,
    INTERRUPTED: State.UNFINISHED,
    PART_FINISHED: State.UNFINISHED,
}
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
    living = {found.run for found in presences_near(run.workspace) if is_alive(found)}
    at_work = [item for item in sessions if _run_of(item) in living and not _has_ended(item)]
    if at_work:
        return Standing(state=State.RUNNING, remark=None, session=at_work[-1])
    session = next((item for item in reversed(sessions) if any(event.event == "units" for event in item)), None)
    if session is None or (session is not sessions[-1] and not _has_ended(sessions[-1])):
        session = sessions[-1]
    ending = next((event for event in reversed(session) if event.event in ENDINGS), None)
    if ending is not None:
        remark = None if ending.event == FINISHED else ending.sentence
        return Standing(state=ENDINGS[ending.event], remark=remark, session=session)
    return Standing(state=State.UNFINISHED, remark=None, session=session)


def _sessions(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """Part a log into runs, by when each last left word; at least one, which may be empty.

    Runs that share a log name themselves; events without a name belong to the start before them.
    """
    found: dict[str, list[Event]] = {}
    last: dict[str, int] = {}
    unnamed = ""
    for number, event in enumerate(events):
        if event.event == "start" and event.run is None:
            unnamed = f"unnamed {number}"
        name = unnamed if event.run is None else event.run
        found.setdefault(name, []).append(event)
        last[name] = number
    names = sorted((name for name, session in found.items() if session[0].event == "start"), key=last.__getitem__)
    return [tuple(found[name]) for name in names] or [tuple(events)]


def _run_of(session: Sequence[Event]) -> str:
    """Return the name of the run that wrote a session; empty for one without a name."""
    return (session[0].run or "") if session else ""


def _has_ended(session: Sequence[Event]) -> bool:
    return any(event.event in ENDINGS for event in session)


def is_alive(found: Presence | None) -> bool:
    """Whether a run left word within the last minute, and no last word; one dated into the future says nothing.

    The clock may have been set: then a run that lives shows it within `BEAT_SECONDS`.
    """
    if found is None or found.ended is not None:
        return False
    return abs(datetime.now().astimezone() - datetime.fromisoformat(found.beat)) < _SILENCE


def presences_near(workspace: Workspace) -> tuple[Presence, ...]:
    """Return the word that runs left; with several tasks it lies above them."""
    folder = workspace.root
    return next((found for place in (folder, folder.parent) if (found := presences(place))), ())
