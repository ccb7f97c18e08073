"""Runs of ``train`` that share an output folder: who is there, who prepares, and who comes last and concludes.

Every run takes a seat, so that ``status`` finds it and ``--restart`` knows of it. One prepares while the others wait.
Then each trains what no other does. A run whose part is done leaves choosing, packaging and predicting to those that
still train and will go as far; the last one does it, from all that is trained by then. Source: own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import ResourceError, Severity
from nnbox.stages.claims import Claim, Claims, Holder, Refusal
from nnbox.stages.context import Context
from nnbox.stages.journal import Listener
from nnbox.stages.lock import held, joined
from nnbox.stages.options import Until
from nnbox.stages.presence import how_it_was_killed, last_presence, mark_explained, presence_path
from nnbox.stages.restart import move_aside
from nnbox.stages.workspace import Workspace

_LOCK = ".lock"
_SEATS, _PREPARATION, _CONCLUSION = "runs", "preparation", "conclusion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The place of one run in its output folder.

    Attributes:
        number: from 1; free again when the run has ended.
        run: a name that no other run has.
        claims: of the output folder; with several tasks each has claims of its own besides.
    """

    number: int
    run: str
    claims: Claims


@contextlib.contextmanager
def seated(output: Path, listener: Listener, *, restart: bool) -> Iterator[Seat]:
    """Take a seat for the time of the block; with ``restart`` first move the earlier run aside.

    Raises:
        ResourceError: the folder is held by ``predict``, or, with ``restart``, by any other run.
    """
    if restart:
        with held(output / _LOCK):
            claims = Claims(Workspace(output).claims)
            if others := claims.held_by_others(_SEATS):
                raise ResourceError(
                    f"--restart would move away what another run works on ({others[0].sentence()}). What to do: stop "
                    "it, or use another --output."
                )
            if (aside := move_aside(output)) is not None:
                listener(None, f"the earlier run was moved to {aside}")
    with joined(output / _LOCK):
        claims = Claims(Workspace(output).claims)
        try:
            number = 1
            while isinstance(claims.attempt(f"{_SEATS}/{number}"), Refusal):
                number += 1
            _explain_killed(output, claims, number, listener)
            yield Seat(number=number, run=secrets.token_hex(6), claims=claims)
        finally:
            claims.close()


def _explain_killed(output: Path, claims: Claims, number: int, listener: Listener) -> None:
    """Tell of runs that were killed on other seats; that of our own seat is told with our first word."""
    for lock in sorted((Workspace(output).claims / _SEATS).glob("*.lock")):
        seat = int(lock.stem)
        path = presence_path(output, seat)
        before = last_presence(path)
        if seat != number and before is not None and before.ended is None and claims.look(f"{_SEATS}/{seat}") is None:
            listener(Severity.WARNING, how_it_was_killed(before))
            mark_explained(path, before)


@contextlib.contextmanager
def preparing(context: Context) -> Iterator[None]:
    """Prepare the data set in the block, alone: other runs wait, and find it done."""

    def tell(refusal: Refusal) -> None:
        context.journal.say("waiting", f"waiting while another run prepares the data set ({refusal.sentence()})")

    with context.claims.wait(_PREPARATION, tell):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """That a run works here and will go as far as it says.

    Attributes:
        claim: what tells the others.
        depth: how far it will go; see `depth_of`.
    """

    claim: Claim
    depth: int


def depth_of(until: Until | None) -> int:
    """Return how far a run goes, as a number to compare."""
    return len(Until) if until is None else list(Until).index(until)


def join(claims: Claims, kind: str, seat: Seat, until: Until | None, work: str = "") -> Membership:
    """Tell other runs that this one works here.

    Args:
        claims: of the folder.
        kind: of membership: what will be concluded together.
        seat: of this run.
        until: how far it goes.
        work: digest of what its networks depend on.

    Raises:
        ResourceError: a run is at work there whose networks depend on something else.
    """
    for other in claims.held_by_others(kind):
        if (theirs := other.note.partition(" ")[2]) != work:
            raise ResourceError(
                f"another run ({other.sentence()}) trains here with other data or options (its work is {theirs[:12]}…, "
                f"this run's {work[:12]}…). What to do: repeat its command as far as epochs, seed, recipe and data go, "
                "wait for its end, or use another --output."
            )
    depth = depth_of(until)

    def never(refusal: Refusal) -> None:
        """Seats are this run's own: nobody else can have the membership but for the moment of a look."""

    return Membership(claim=claims.wait(f"{kind}/{seat.number}", never, note=f"{depth} {work}"), depth=depth)


@contextlib.contextmanager
def leaving(claims: Claims, kind: str, membership: Membership) -> Iterator[tuple[Holder, ...]]:
    """End a membership; the block is done by one run at a time and is given those that go on and as far.

    Where there are none, this run is the last one and concludes, in the block.
    """

    def never(refusal: Refusal) -> None:
        """Whoever concludes is soon done, or does it for us."""

    with claims.wait(f"{_CONCLUSION}/{kind}", never):
        membership.claim.release()
        others = claims.held_by_others(kind)
        yield tuple(other for other in others if int(other.note.partition(" ")[0] or 0) >= membership.depth)
