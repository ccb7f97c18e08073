"""The runs that share a log: which of them go on, what each is to train, and what it trains just now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nnbox.records.events import Event
from nnbox.stages.schedule import Place
from nnbox.stages.standing import ENDINGS

UNIT_BEGINS, UNIT_ENDS = "unit_begins", "unit_ends"


@dataclass(slots=True)
class _Session:
    ended: bool = False
    scheduled: tuple[Place, ...] = ()
    training: set[Place] = field(default_factory=set)
    tells_units: bool = False


class Sessions:
    """Hears a log's events and knows its runs apart; events of a log that names none are all of one run."""

    def __init__(self) -> None:
        self._found: dict[str, _Session] = {}
        self._latest = _Session()

    def hear(self, event: Event) -> None:
        """Take in one event."""
        name = event.run or ""
        if event.event == "start":
            self._found[name] = self._latest = _Session()
        session = self._found.setdefault(name, _Session())
        if event.event in ENDINGS:
            session.ended = True
        elif event.event == "units":
            session.scheduled = tuple((str(unit), int(fold)) for unit, fold in event.facts["units"])
            self._latest = session
        elif event.event in {UNIT_BEGINS, UNIT_ENDS}:
            session.tells_units = True
            place = (str(event.facts["configuration"]), int(event.facts["fold"]))
            (session.training.add if event.event == UNIT_BEGINS else session.training.discard)(place)

    def goes_on(self, living: Iterable[str]) -> bool:
        """Whether one of the runs that leave word of themselves has not ended."""
        return bool(self._at_work(living))

    def scheduled(self, living: Iterable[str]) -> tuple[Place, ...]:
        """Return what the runs at work are to train, in order; of none at work, what the last one was to."""
        sessions = self._at_work(living) or [self._latest]
        return tuple(dict.fromkeys(place for session in sessions for place in session.scheduled))

    def training(self, living: Iterable[str]) -> set[Place] | None:
        """Return what is being trained just now; None where the log does not tell."""
        sessions = self._at_work(living)
        if not any(session.tells_units for session in sessions):
            return None
        return set().union(*(session.training for session in sessions))

    def _at_work(self, living: Iterable[str]) -> list[_Session]:
        alive = set(living)
        return [session for name, session in self._found.items() if name in alive and not session.ended]
