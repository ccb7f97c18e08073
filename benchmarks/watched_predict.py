"""Run by either tool's Python: its own prediction, with a clock around every call of the network.

``watched_predict.py ours|theirs REPORT WORDS…`` behaves as the command with those words, and writes two figures (JSON):
seconds from the start of the process to the first call, and seconds during which a call was under way.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any


class _Clock:
    """Counts the time during which at least one call is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._since = 0, 0.0
        self.first: float | None = None
        self.seconds = 0.0

    def around(self, call: Any) -> Any:
        def timed(*words: Any) -> Any:
            self._change(1)
            try:
                return call(*words)
            finally:
                self._change(-1)

        return timed

    def _change(self, step: int) -> None:
        with self._lock:
            now = time.monotonic()
            if self.first is None:
                self.first = time.clock_gettime(time.CLOCK_BOOTTIME) - _started()
            if self._running:
                self.seconds += now - self._since
            self._running, self._since = self._running + step, now


def _started() -> float:
    ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def _ours(clock: _Clock) -> Any:
    from nnbox.cli import main
    from nnbox.network.forward import Forward

    Forward.probabilities = clock.around(Forward.probabilities)
    return main


def _theirs(clock: _Clock) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor, predict_entry_point_modelfolder

    name = "_internal_maybe_mirror_and_predict"
    setattr(nnUNetPredictor, name, clock.around(getattr(nnUNetPredictor, name)))
    return predict_entry_point_modelfolder


def main() -> None:
    clock, (who, report) = _Clock(), sys.argv[1:3]
    sys.argv[1:] = sys.argv[3:]
    command = {"ours": _ours, "theirs": _theirs}[who](clock)
    try:
        code = command()
    finally:
        Path(report).write_text(json.dumps({"first": clock.first, "forward": clock.seconds}))
    sys.exit(code)


if __name__ == "__main__":
    main()
