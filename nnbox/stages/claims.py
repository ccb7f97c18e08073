"""Work is claimed before it is done, so that several runs can share an output folder.

A claim is a kernel lock on a file, which is free the moment its process has ended, however it ended; and a record
beside it, whose time of change is a heartbeat. On a disk of one machine the lock decides, so that a run which was
killed is continued at once. Where several machines write (a network file system), or where locks do not work, a claim
also holds while its heartbeat is younger than a minute. Processes and hosts are named in messages and decide nothing:
in containers every run is process 1 of a host of its own. Source: own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self

from nnbox.errors import LostClaimError, RecordError
from nnbox.files import atomic_write_text
from nnbox.records.codec import dumps, read_record
from nnbox.stages.file_system import Locking, locking, machine
from nnbox.stages.heartbeat import BEAT_SECONDS, STALE_SECONDS, HeartWatch

POLL_SECONDS = 1.0
# Two that find the same claim free, where locks do not decide, both write; after so long the later one has it.
_SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a claim.

    Attributes:
        work: what is claimed.
        host, process: where, for people.
        machine: see `nnbox.stages.file_system.machine`.
        since: local time with offset, ISO 8601.
        token: of this one claim.
        note: what others should know of it.
    """

    RECORD: ClassVar[str] = "claim"
    VERSION: ClassVar[int] = 1

    work: str
    host: str
    process: int
    machine: str
    since: str
    token: str
    note: str

    def sentence(self) -> str:
        """Name the holder for people."""
        return f"process {self.process} on {self.host}, since {self.since}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A claim that another has.

    Attributes:
        holder: who; None in the moment before it says so.
        lives: whether it is known to live; else it may have been killed on another machine, and asking again for a
            minute tells.
    """

    holder: Holder | None
    lives: bool

    def sentence(self) -> str:
        """Name the holder for people."""
        return "another process" if self.holder is None else self.holder.sentence()


class Claim:
    """Work that this process has to itself until `release`, or until it ends.

    Attributes:
        holder: what others read of it.
        descriptor: of the locked file; a child process that inherits it shares the claim.
    """

    def __init__(self, claims: Claims, holder: Holder, descriptor: int) -> None:
        self._claims, self.holder, self.descriptor = claims, holder, descriptor
        self.lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it."""
        self._claims.release(self)

    def is_lost(self) -> bool:
        """Whether somebody took the claim over, as its record says now."""
        self.lost = self.lost or self._claims.is_taken(self)
        return self.lost

    def require_held(self) -> None:
        """See that nobody took the claim over because this process was not heard of for a minute (it was suspended).

        Raises:
            LostClaimError: somebody did.
        """
        if self.is_lost():
            raise LostClaimError(
                f"{self.holder.work} was taken over by another run, since nothing was heard of this one for "
                f"{STALE_SECONDS:.0f} s. What to do: nothing if that run goes on; else run the same command again."
            )


class Claims:
    """The claims of a folder.

    Args:
        folder: where they lie; made when it is needed.
        found: what locks are worth there; None to try it out.
        beat_seconds, stale_seconds: between two heartbeats, and until a silent claim is free.
    """

    def __init__(
        self,
        folder: Path,
        found: Locking | None = None,
        *,
        beat_seconds: float = BEAT_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._folder, self._locking = folder, found
        self._beat_seconds = beat_seconds
        self._machine = machine()
        self._held: dict[str, Claim] = {}
        self._watch = HeartWatch(folder, beat_seconds, stale_seconds)
        self._guard, self._over = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def attempt(self, work: str, note: str = "") -> Claim | Refusal:
        """Claim a piece of work, or say who has it; never waits longer than two seconds.

        Raises:
            OSError: the folder cannot be written.
        """
        descriptor = self._open(work)
        try:
            if (refusal := self._refused(work, descriptor, fcntl.LOCK_EX)) is not None:
                os.close(descriptor)
                return refusal
            claim = Claim(self, self._say(work, note), descriptor)
            if not self._is_decisive:
                time.sleep(_SETTLE_SECONDS)
                now = self._read(work)
                if now is None or now.token != claim.holder.token:
                    os.close(descriptor)
                    return Refusal(holder=now, lives=False)
        except BaseException:
            os.close(descriptor)
            raise
        self._keep(work, claim)
        return claim

    def look(self, work: str) -> Refusal | None:
        """Say who has a piece of work; None where nobody has it."""
        descriptor = self._open(work)
        try:
            return self._refused(work, descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def wait(self, work: str, tell: Callable[[Refusal], None], note: str = "") -> Claim:
        """Claim a piece of work, waiting for whoever has it; ``tell`` hears once whom we wait for."""
        told = False
        while isinstance(found := self.attempt(work, note), Refusal):
            if not told and found.lives:
                tell(found)
                told = True
            time.sleep(POLL_SECONDS)
        return found

    def held_by_others(self, kind: str) -> tuple[Holder, ...]:
        """Return who holds claims of a kind (a folder of them) in other processes; waits till that is known."""
        found = []
        for lock in sorted((self._folder / kind).glob("*.lock")):
            work = f"{kind}/{lock.stem}"
            if work in self._held:
                continue
            while (refusal := self.look(work)) is not None and not refusal.lives:
                time.sleep(POLL_SECONDS)
            if refusal is not None and refusal.holder is not None:
                found.append(refusal.holder)
        return tuple(found)

    def release(self, claim: Claim) -> None:
        """Let others have a claim."""
        with self._guard:
            if self._held.pop(claim.holder.work, None) is None:
                return
        found = self._read(claim.holder.work)
        if found is not None and found.token == claim.holder.token:  # else it is the taker's now
            with contextlib.suppress(OSError):
                self._record(claim.holder.work).unlink(missing_ok=True)
        os.close(claim.descriptor)

    def is_taken(self, claim: Claim) -> bool:
        """Whether the record of a claim names another holder; one that cannot be read names nobody."""
        found = self._read(claim.holder.work)
        return found is not None and found.token != claim.holder.token

    def close(self) -> None:
        """Release everything and stop the heartbeat."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for claim in tuple(self._held.values()):
            self.release(claim)

    @property
    def _is_decisive(self) -> bool:
        """Whether the kernel's lock is the whole truth here."""
        return self._locking is not None and self._locking.exclusive and self._locking.local

    def _open(self, work: str) -> int:
        lock = self._folder / f"{work}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        if self._locking is None:
            self._locking = locking(self._folder)
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)

    def _refused(self, work: str, descriptor: int, kind: int) -> Refusal | None:
        """Lock the file as far as that means anything here; say who has the work, or None where it is free."""
        exclusive = self._locking is not None and self._locking.exclusive
        if exclusive:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                return Refusal(holder=self._read(work), lives=True)
        before = self._read(work)
        if before is None or self._is_decisive or (exclusive and before.machine == self._machine):
            return None  # whoever had it was of this kernel, which says that it has ended
        if self._watch.stands_still(self._record(work), before.token):
            return None
        return Refusal(holder=before, lives=before.token in self._watch.beating)

    def _record(self, work: str) -> Path:
        return self._folder / f"{work}.json"

    def _read(self, work: str) -> Holder | None:
        try:
            return read_record(self._record(work), Holder)
        except (RecordError, OSError):
            return None

    def _say(self, work: str, note: str) -> Holder:
        holder = Holder(
            work=work,
            host=socket.gethostname(),
            process=os.getpid(),
            machine=self._machine,
            since=datetime.now().astimezone().isoformat(timespec="seconds"),
            token=secrets.token_hex(8),
            note=note,
        )
        atomic_write_text(self._record(work), dumps(holder))
        return holder

    def _keep(self, work: str, claim: Claim) -> None:
        with self._guard:
            self._held[work] = claim
        if self._thread is None:
            self._thread = threading.Thread(target=self._beat, daemon=True, name="nnbox-claims")
            self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(self._beat_seconds):
            with self._guard:
                held = tuple(self._held.items())
            for work, claim in held:
                found = self._read(work)
                if found is not None and found.token != claim.holder.token:
                    claim.lost = True
                elif found is not None:
                    with contextlib.suppress(OSError):  # a network that is away comes back, or we are taken for dead
                        os.utime(self._record(work))
