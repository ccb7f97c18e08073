"""Which network a run trains next: the longest way first, what others have left out, a cascade when its inputs exist.

Source: own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbox.errors import ResourceError
from nnbox.stages.claims import Claim, Claims, Refusal
from nnbox.stages.journal import Journal
from nnbox.stages.schedule import Place, Schedule, unit_name


@dataclass(frozen=True, slots=True)
class Turn:
    """A network to be trained now, and the claim on it; both are given back with `Agenda.end`."""

    place: Place
    claim: Claim


class Agenda:
    """The networks of a schedule that this run has still to see done, by itself or by others.

    Args:
        schedule: the networks, in the order in which they are begun.
        claims: of the workspace.
        is_complete: whether a network is trained and validated, asked only while it is claimed.
    """

    def __init__(self, schedule: Schedule, claims: Claims, is_complete: Callable[[Place], bool]) -> None:
        self._schedule, self._claims, self._is_complete = schedule, claims, is_complete
        self._waiting = list(schedule.units)
        self._begun: set[Place] = set()
        self._done: set[Place] = set()
        self._refusals: dict[Place, Refusal] = {}
        self._told: Place | None = None

    def take(self, suits: Callable[[str], bool] = lambda configuration: True) -> Turn | None:
        """Claim the next network that can be trained now; None where there is none just now.

        Networks that others have finished meanwhile are struck off. ``suits`` says whether a configuration will do.
        """
        for place in tuple(self._waiting):
            if not self._is_ready(place) or not suits(place[0]):
                continue
            answer = self._claims.attempt(unit_name(place))
            if isinstance(answer, Refusal):
                self._refusals[place] = answer
                continue
            self._refusals.pop(place, None)
            self._waiting.remove(place)
            if not self._is_complete(place):
                self._begun.add(place)
                return Turn(place, answer)
            self._done.add(place)
            answer.release()
        return None

    def end(self, turn: Turn, *, done: bool) -> None:
        """Give a network back: it is trained and validated, or it was left and may be taken again."""
        turn.claim.release()
        if done:
            self._done.add(turn.place)
        else:
            self._waiting.insert(0, turn.place)

    def awaited(self) -> Place | None:
        """Return a network of another run that this one has to wait for; None where waiting brings it no work.

        That is one that a cascade of this run learns from; or one whose run may be dead, as will be known soon.
        """
        for place, refusal in self._refusals.items():
            needed = any(place in self._schedule.needs(other) for other in self._waiting)
            if needed or not refusal.lives:
                return place
        return None

    def tell_wait(self, place: Place, journal: Journal) -> None:
        """Say, once, who trains the network that this run waits for."""
        if place != self._told:
            holder = self._refusals[place].sentence()
            journal.say("waiting", f"waiting for {place[0]} fold {place[1]}, which {holder} trains")
        self._told = place

    def require_work(self) -> None:
        """See that the run had something to do, at its end.

        Raises:
            ResourceError: other runs had every network that was not done.
        """
        if self._begun or not self._refusals:
            return
        lines = [f"  - {name} fold {fold}: {item.sentence()}" for (name, fold), item in self._refusals.items()]
        raise ResourceError(
            "other runs are training all that this one could:\n" + "\n".join(lines) + "\nWhat to do: wait for them; "
            "nnbox status shows how far they are. Or ask for others with --folds or --configurations."
        )

    def _is_ready(self, place: Place) -> bool:
        return all(needed in self._done for needed in self._schedule.needs(place))
