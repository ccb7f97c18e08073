"""A run leaves word that it lives, and how it ended; one that left no last word was killed, and the next says so.

Source: own. The file is small, replaced atomically, and no lock: it only explains.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from nnbox.errors import NnboxError, RecordError, Severity
from nnbox.files import atomic_write_text
from nnbox.limits import available_memory_bytes, is_memory_limited, memory_in_use_bytes
from nnbox.records.codec import dumps, read_record
from nnbox.stages.journal import Listener

NAME = ".presence.json"
BEAT_SECONDS = 5.0
# Memory may run out within a second or two: it is looked at often, and told at once when it has grown.
_LOOK_SECONDS = 0.25
_GROWN_BYTES = 50_000_000
_NEARLY = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What a run last said of itself.

    Attributes:
        host: its name; in a container, the container's.
        process: its id there.
        began, beat: local times with offset, ISO 8601.
        doing: the last sentence it told.
        memory_bytes: the most memory seen in use; None where the system does not tell.
        memory_limit_bytes: the container's limit; None where there is none.
        ended: how it ended; None while it runs, and for ever if it was killed.
        run: the run's name in its log.
    """

    RECORD: ClassVar[str] = "presence"
    VERSION: ClassVar[int] = 1

    host: str
    process: int
    began: str
    beat: str
    doing: str
    memory_bytes: int | None
    memory_limit_bytes: int | None
    ended: str | None
    run: str = ""


@contextlib.contextmanager
def present(output: Path, listener: Listener, *, seat: int = 1, run: str = "") -> Iterator[Listener]:
    """Leave word in a run's output folder during the block; first tell, as a warning, if the run before was killed.

    To be used while the folder's lock, or the seat, is held. Yields the listener that the run's news should go through.

    Args:
        output: the folder.
        listener: is told.
        seat: of the run among those that share the folder.
        run: its name in its log.
    """
    path = presence_path(output, seat)
    if (before := last_presence(path)) is not None and before.ended is None:
        listener(Severity.WARNING, how_it_was_killed(before))
    voice = _Voice(path, listener, run)
    voice.start()
    try:
        yield voice.hear
    except NnboxError as error:
        voice.stop(f"exit code {error.exit_code}: {str(error).splitlines()[0]}")
        raise
    except (KeyboardInterrupt, SystemExit):
        voice.stop("interrupted")
        raise
    except BaseException as error:
        voice.stop(f"a bug: {type(error).__name__}")
        raise
    voice.stop("finished")


def last_presence(path: Path) -> Presence | None:
    """Return what the last run left; None where there is nothing readable."""
    try:
        return read_record(path, Presence) if path.exists() else None
    except (RecordError, OSError):
        return None


def presence_path(output: Path, seat: int = 1) -> Path:
    """Return where the run on a seat leaves word."""
    return output / (NAME if seat == 1 else f".presence-{seat}.json")


def presences(output: Path) -> tuple[Presence, ...]:
    """Return what every run in a folder last said of itself."""
    found = (last_presence(path) for path in sorted(output.glob(".presence*.json")))
    return tuple(presence for presence in found if presence is not None)


def mark_explained(path: Path, before: Presence) -> None:
    """Note that a killed run was told of."""
    with contextlib.suppress(OSError):
        atomic_write_text(path, dumps(replace(before, ended="killed")))


def how_it_was_killed(before: Presence) -> str:
    """Explain a run that ended without a word, in one sentence with a remedy."""
    head = f"the run before this one was killed (it was last seen at {before.beat}, after: {before.doing!r})"
    limit, used = before.memory_limit_bytes, before.memory_bytes
    if limit is not None and used is not None and used >= _NEARLY * limit:
        return (
            f"{head}. It used {_gb(used)} of the {_gb(limit)} it was allowed, so that most likely memory ran out: that "
            "is what exit code 137 of docker run means. What to do if it happens again: allow more with "
            "docker run --memory, or use fewer --workers. This run continues from what was saved."
        )
    allowed = "" if limit is None else f" of {_gb(limit)} allowed"
    seen = "" if used is None else f" The most memory seen in use was {_gb(used)}{allowed}."
    return (
        f"{head}.{seen} Exit code 137 of docker run means a kill from outside, most often because memory ran out "
        "within seconds; a power cut or docker kill looks the same. This run continues from what was saved."
    )


class _Voice:
    """Writes the record now and then from a thread, and when the run ends."""

    def __init__(self, path: Path, listener: Listener, run: str) -> None:
        now = _now()
        self._path, self._listener = path, listener
        self._guard, self._over = threading.Lock(), threading.Event()
        self._record = Presence(
            host=socket.gethostname(),
            process=os.getpid(),
            began=now,
            beat=now,
            doing="it began",
            memory_bytes=memory_in_use_bytes(),
            memory_limit_bytes=available_memory_bytes() if is_memory_limited() else None,
            ended=None,
            run=run,
        )
        self._thread = threading.Thread(target=self._beat, daemon=True, name="nnbox-presence")

    def start(self) -> None:
        self._write()
        self._thread.start()

    def hear(self, severity: Severity | None, sentence: str) -> None:
        """Pass news on, remembering the last of them."""
        with self._guard:
            self._record = replace(self._record, doing=sentence.splitlines()[0] if sentence else "")
        self._listener(severity, sentence)

    def stop(self, how: str) -> None:
        self._over.set()
        self._thread.join()
        self._write(how)

    def _beat(self) -> None:
        written = time.monotonic()
        while not self._over.wait(_LOOK_SECONDS):
            used, told = memory_in_use_bytes() or 0, self._record.memory_bytes or 0
            if used > told + _GROWN_BYTES or time.monotonic() - written >= BEAT_SECONDS:
                self._write()
                written = time.monotonic()

    def _write(self, ended: str | None = None) -> None:
        used = memory_in_use_bytes()
        with self._guard:
            most = max((item for item in (used, self._record.memory_bytes) if item is not None), default=None)
            self._record = replace(self._record, beat=_now(), memory_bytes=most, ended=ended)
            record = self._record
        with contextlib.suppress(OSError):  # a full disk is told by who needs it
            atomic_write_text(self._path, dumps(record))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
