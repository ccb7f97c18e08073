"""Whether others' heartbeats go on, by two clocks: the file system's for their age, and our own, which cannot jump."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0


@dataclass(slots=True)
class HeartWatch:
    """Watches files whose time of change is a heartbeat.

    Attributes:
        folder: a folder on the same file system, for its clock.
        beat_seconds, stale_seconds: between two beats; after so long without one a heart stands still.
        seen: of each heart its last beat, and when, by our own clock, that was first seen.
        beating: the hearts that were seen to beat.
    """

    folder: Path
    beat_seconds: float = BEAT_SECONDS
    stale_seconds: float = STALE_SECONDS
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    beating: set[str] = field(default_factory=set)

    def stands_still(self, file: Path, name: str) -> bool:
        """Look at a heart, called by a name of its own; True once it is known to stand still.

        So it is when nothing was seen of it for ``stale_seconds``; or when the file system calls the last beat that
        old (or dates it into the future, as after a jump of its clock) and two beats did not come while we watched.
        """
        try:
            beat = file.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        now = time.monotonic()
        last, since = self.seen.get(name, (beat, now))
        if beat != last:
            self.beating.add(name)
            since = now
        self.seen[name] = (beat, since)
        watched = now - since
        if watched >= self.stale_seconds:
            return True
        age = (self._clock_ns() - beat) / 1e9
        return not -self.beat_seconds < age < self.stale_seconds and watched >= 2 * self.beat_seconds

    def _clock_ns(self) -> int:
        """Return the time as the file system has it."""
        probe = self.folder / f".clock-{secrets.token_hex(4)}"
        try:
            probe.touch()
            return probe.stat().st_mtime_ns
        finally:
            probe.unlink(missing_ok=True)
