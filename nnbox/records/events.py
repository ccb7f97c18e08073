"""One event of a run, as a line of ``log.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nnbox.errors import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened.

    Attributes:
        time: local time with its offset, ISO 8601.
        event: which kind, one word.
        sentence: the same for people.
        severity: None for news.
        facts: what a program may want to know, by name.
        run: name of the run that wrote it; several may share a log.
        after_seconds: how long that run went on by then, on a clock that never jumps; None where it was not told.
    """

    time: datetime
    event: str
    sentence: str
    severity: Severity | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None
    after_seconds: float | None = None

    def line(self) -> str:
        """Return the event as one line of JSON, without an end of line."""
        entry: dict[str, Any] = {"time": self.time.isoformat(timespec="seconds"), "event": self.event}
        if self.severity is not None:
            entry["severity"] = self.severity.value
        if self.run is not None:
            entry["run"] = self.run
        if self.after_seconds is not None:
            entry["after_seconds"] = round(self.after_seconds, 1)
        entry["sentence"] = self.sentence
        if self.facts:
            entry["facts"] = dict(self.facts)
        return json.dumps(entry, ensure_ascii=False, default=str)


def parse_event(line: str) -> Event | None:
    """Read a line of a log; None for one that is no event (a log may end in half a line after a power cut)."""
    try:
        entry = json.loads(line)
        severity = entry.get("severity")
        return Event(
            time=datetime.fromisoformat(entry["time"]),
            event=str(entry["event"]),
            sentence=str(entry["sentence"]),
            severity=None if severity is None else Severity(severity),
            facts=dict(entry.get("facts", {})),
            run=None if entry.get("run") is None else str(entry["run"]),
            after_seconds=None if entry.get("after_seconds") is None else float(entry["after_seconds"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read_events(path: Path) -> tuple[Event, ...]:
    """Read a log, oldest first; empty where there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    return tuple(event for line in text.splitlines() if (event := parse_event(line)) is not None)
