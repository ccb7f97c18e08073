"""What happened, once: one JSON record per event in ``log.jsonl``, and the same in words to whoever listens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nnbox.errors import Severity
from nnbox.faults import reached
from nnbox.records.events import Event

CALM_SECONDS = 30.0
"""So long is nothing told of a subject that was just told of; the log has every step."""
_LOST = "the log itself"
Listener = Callable[[Severity | None, str], None]


def _nobody(severity: Severity | None, sentence: str) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes events to ``path`` (when given) and says their sentences to ``listener``.

    Attributes:
        path: the log file, or None while no output folder is known.
        listener: called with the severity (None for news) and the sentence of an event.
        steps_told: say steps, too; False where a live view shows them.
        run: name of the run that writes; several may share a log.
        began: when that run began, on the clock of ``time.monotonic``; every event then tells how long after it is.
        told: when a step of each subject was last said.
    """

    path: Path | None
    listener: Listener = field(default=_nobody)
    steps_told: bool = True
    run: str | None = None
    began: float | None = None
    told: dict[str, float] = field(default_factory=dict, compare=False)

    def say(self, event: str, sentence: str, facts: Mapping[str, Any] | None = None) -> None:
        """Record news and tell it."""
        self._write(event, sentence, facts, None)
        self.listener(None, sentence)

    def warn(self, event: str, sentence: str, facts: Mapping[str, Any] | None = None) -> None:
        """Record a warning and tell it."""
        self._write(event, sentence, facts, Severity.WARNING)
        self.listener(Severity.WARNING, sentence)

    def note(self, event: str, sentence: str, facts: Mapping[str, Any] | None = None) -> None:
        """Record without telling: for what happens often."""
        self._write(event, sentence, facts, None)

    def step(self, event: str, subject: str, sentence: str, facts: Mapping[str, Any], *, last: bool) -> None:
        """Record one of many like events; tell a subject's first, its last, and no more than one in 30 s between."""
        self._write(event, sentence, facts, None)
        now = time.monotonic()
        before = self.told.get(subject)
        if self.steps_told and (last or before is None or now - before >= CALM_SECONDS):
            self.told[subject] = now
            self.listener(None, sentence)

    def _write(self, event: str, sentence: str, facts: Mapping[str, Any] | None, severity: Severity | None) -> None:
        if self.path is None:
            return
        entry = Event(
            time=datetime.now().astimezone(),
            event=event,
            sentence=sentence,
            severity=severity,
            facts=facts or {},
            run=self.run,
            after_seconds=None if self.began is None else time.monotonic() - self.began,
        )
        try:
            _append(self.path, f"{entry.line()}\n".encode(errors="backslashreplace"))
        except OSError as error:  # a full disk, most often: what fails for it is to be heard, not the log
            if _LOST not in self.told:
                self.told[_LOST] = time.monotonic()
                self.listener(Severity.WARNING, f"{self.path} cannot be written ({error.strerror}); it will have gaps")
        reached("told", event)


def _append(path: Path, line: bytes) -> None:
    """Write one line whole and behind all others, whoever else writes at this moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        while line:
            line = line[os.write(descriptor, line) :]
    finally:
        os.close(descriptor)
