"""The rows of `gpu.py` one after the other, in a process that is cut off when a row takes too long."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu_table
import table
from gpu_row import LONGEST_SHARE, GpuRow, entry
from gpu_watch import CutOffError, Watched
from gpu_worker import CARD, Settings, serve

_START_SECONDS = 120.0


def run(rows: Sequence[GpuRow], settings: Settings, keep: Path | None) -> list[dict[str, Any]]:
    """Measure rows, print each as it is done, and return their entries.

    Args:
        rows: in order.
        settings: of the process that measures.
        keep: folder of the results, or None.
    """
    measuring, entries = _Measuring(settings), []
    try:
        for row in rows:
            entries.append(found := measuring.entry(row))
            print(gpu_table.line(found), flush=True)
            if keep is not None and measuring.card:
                card = measuring.card
                table.record({**found, "card": card}, device=_slug(card["card"]), folder=keep)
    finally:
        measuring.end()
    return entries


class _Measuring:
    """The process that measures: begun for the first row that fits, and anew after one that was cut off.

    What most likely takes too long is a compilation: after the first row that was cut off nothing is compiled any more,
    and that row is tried once more.

    Attributes:
        card: what the process said of the card; empty before the first row.
    """

    def __init__(self, settings: Settings) -> None:
        self.card: dict[str, Any] = {}
        self._settings = settings
        self._process: Watched | None = None

    def entry(self, row: GpuRow) -> dict[str, Any]:
        reasons = []
        while True:
            needs = 1.0 if self._settings.quick else row.needs_seconds
            if (left := self._left()) < needs:
                reasons.append(f"{max(0.0, left):.0f} s were left, it may need {needs:.0f}")
                break
            try:
                return self._ask(row)
            except CutOffError as error:
                reasons.append(str(error))
                self._process = None
            begun_with = self._settings.may_compile
            self._settings = replace(self._settings, may_compile=False)
            if not begun_with or row.compiles_ours:
                break
        return entry(row, None, quick=self._settings.quick, reason="; ".join(reasons))

    def end(self) -> None:
        if self._process is not None:
            self._process.close()

    def _ask(self, row: GpuRow) -> dict[str, Any]:
        if self._process is None:
            self._process = Watched(partial(serve, self._settings))
            self.card = self._process.ask(CARD, seconds=min(self._left(), _START_SECONDS))
            print(", ".join(f"{name} {value}" for name, value in self.card.items()), flush=True)
        found: dict[str, Any] = self._process.ask(
            row.name, seconds=min(self._left(), LONGEST_SHARE * row.needs_seconds)
        )
        return found

    def _left(self) -> float:
        return self._settings.ends_at - time.monotonic()


def _slug(card: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")
