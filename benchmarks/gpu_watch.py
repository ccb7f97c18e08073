"""Work in a process of its own that is cut off at a deadline: a call that hangs in a driver hears no handler."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

_END_SECONDS = 10.0


class CutOffError(Exception):
    """No answer came in time, or the process ended without one."""


class Watched:
    """A process that answers questions one after the other, until it fails to.

    Args:
        serve: run there with the connection; reads a question, sends the answer, until the connection is closed. It and
            all processes that it starts are one session, and end together.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        context = multiprocessing.get_context("spawn")  # a card's context does not live through a fork
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_begin, args=(serve, other))
        self._process.start()
        other.close()

    def ask(self, question: object, *, seconds: float) -> Any:
        """Return the answer.

        Raises:
            CutOffError: see there; the process and all that it started have then been killed.
        """
        why = f"cut off after {seconds:.0f} s"
        try:
            self._connection.send(question)
            if self._connection.poll(max(0.0, seconds)):
                return self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            why = f"its process ended with exit code {self._process.exitcode}"
        self.close()
        raise CutOffError(why)

    def close(self) -> None:
        """Kill the process with its session, and wait for it, but not for ever: a driver may keep it."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()  # where its session had not begun
        self._process.join(_END_SECONDS)
        self._connection.close()


def end(code: int = 0) -> NoReturn:
    """End this process, at once where one that it started cannot be killed: Python would wait for that for ever."""
    if multiprocessing.active_children():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _begin(serve: Callable[[Connection], None], connection: Connection) -> None:
    os.setsid()
    with contextlib.suppress(EOFError):
        serve(connection)
