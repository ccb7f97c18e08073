"""What happened, once: one JSON record per event in ``log.jsonl``, and the same in words to whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnbox.errors import Severity

Listener = Callable[[Severity | None, str], None]


def _nobody(severity: Severity | None, sentence: str) -> None:
    """Listen to nothing."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Writes events to ``path`` (when given) and says their sentences to ``listener``.

    Attributes:
        path: the log file, or None while no output folder is known.
        listener: called with the severity (None for news) and the sentence of an event.
    """

    path: Path | None
    listener: Listener = field(default=_nobody)

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

    def _write(self, event: str, sentence: str, facts: Mapping[str, Any] | None, severity: Severity | None) -> None:
        if self.path is None:
            return
        entry: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event}
        if severity is not None:
            entry["severity"] = severity.value
        entry["sentence"] = sentence
        if facts:
            entry["facts"] = dict(facts)
        line = json.dumps(entry, ensure_ascii=False, default=str) + "\n"
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(line)
