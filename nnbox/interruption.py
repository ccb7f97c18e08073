"""SIGTERM and Ctrl-C: raised as exceptions, but never in the middle of what must be done whole.

A signal belongs to the process, so its state lives in this module. Signals are heard by the main thread alone.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

_depth = 0
_waiting: int | None = None


def listen_for_signals() -> None:
    """Turn SIGTERM into ``SystemExit(143)`` and SIGINT into ``KeyboardInterrupt`` from now on."""
    signal.signal(signal.SIGTERM, _hear)
    signal.signal(signal.SIGINT, _hear)


def ignore_signals() -> None:
    """Leave both signals to the parent: for worker processes, whose pipes close when the parent ends.

    Ctrl-C reaches the whole process group, and so does a scheduler's SIGTERM.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Do the block whole: a signal that comes during it is raised at its end."""
    global _depth, _waiting  # noqa: PLW0603 - one process, one set of signals
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0 and _waiting is not None:
            number, _waiting = _waiting, None
            _raise(number)


def _hear(number: int, frame: FrameType | None) -> None:
    global _waiting  # noqa: PLW0603
    if _depth:
        _waiting = number
    else:
        _raise(number)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
