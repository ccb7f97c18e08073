"""The same work for many tasks in worker processes that are watched: one that is killed, starved or hangs is a finding.

What went wrong in company is tried again by one worker alone, which tells the task that is to blame. Source: own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from nnbox.errors import ResourceError
from nnbox.processes import process_pool, submit_all

VARIABLE = "NNBOX_WORKER_SECONDS"
DEFAULT_SECONDS = 3600.0
"""So long may a worker take for one piece of work before it counts as hung."""
START_SECONDS = 300.0
"""So long, at least, may a process take for its first word: it has much to import."""
_LOOK_SECONDS = 0.25
_MOST_BETWEEN_LOOKS_SECONDS = 5.0
_AHEAD = 8
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """How a worker was lost.

    Attributes:
        how: in words, after "a worker process".
        peak_bytes: the most memory that one of the workers was seen to hold; 0 where the system does not tell.
    """

    how: str
    peak_bytes: int

    def sentence(self) -> str:
        """Return what happened."""
        seen = f"; the most that one was seen to hold is {self.peak_bytes / 1e6:.0f} MB" if self.peak_bytes else ""
        return f"a worker process {self.how}{seen}"


class LostError(Exception):
    """A worker was lost; whoever catches it decides what is tried next."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        super().__init__(loss.sentence())


def patience_seconds() -> float:
    """Return how long a worker may take for one piece of work: an hour, or what ``NNBOX_WORKER_SECONDS`` says.

    Raises:
        ResourceError: the variable is no positive number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        seconds = float(text) if text else DEFAULT_SECONDS
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ResourceError(f"{VARIABLE}={text}: a positive number of seconds is expected. What to do: correct it.")
    return seconds


@dataclass(slots=True)
class Silence:
    """How long nothing was heard of a process, while somebody listened.

    Time in which nobody listened does not count, since the process may have been halted together with its listener.

    Attributes:
        seconds: without a word.
        begun: whether there was a first word.
    """

    seconds: float = 0.0
    begun: bool = False

    def end(self) -> None:
        """Take note of a word."""
        self.seconds, self.begun = 0.0, True

    def last(self, seconds: float) -> None:
        """Take note that nothing was heard in the so many seconds since somebody looked last."""
        self.seconds += min(seconds, _MOST_BETWEEN_LOOKS_SECONDS)

    def is_too_long(self, patience: float) -> bool:
        """Whether the process counts as hung, for who has so many seconds of patience."""
        return self.seconds > (patience if self.begun else max(patience, START_SECONDS))


def supervised(
    work: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    count: int,
    *,
    name: Callable[[_Task], str],
    tell: Callable[[str], None],
) -> Iterator[_Result]:
    """Yield ``work(task)`` for every task, in order, from so many workers.

    Args:
        work: what is done with a task.
        tasks: all of them.
        count: of workers, at least 1.
        name: of a task in messages, e.g. "case a".
        tell: is told, in a sentence, that something is tried again.

    Raises:
        ResourceError: one worker alone was killed, ran out of memory or hung, too; names the task.
    """
    done = 0
    while done < len(tasks):
        try:
            for result in _collect(work, tasks[done:], count):
                yield result
                done += 1
        except LostError as error:
            task = tasks[done]
            if count == 1:
                raise ResourceError(
                    f"{name(task)}: {error}, though it worked alone. Most often memory ran out. What to do: give more "
                    "memory, or leave the case out with --exclude; then run the same command again, what is finished "
                    "is kept."
                ) from None
            tell(
                f"{error}, while {count} were at work ({name(task)} or one of the next); most often memory ran out. "
                "Now once more with one worker."
            )
            count = 1


def _collect(work: Callable[[_Task], _Result], tasks: Sequence[_Task], count: int) -> Iterator[_Result]:
    """Yield results in order; only a few are ever waiting, so that their number costs no memory."""
    others = {process.pid for process in multiprocessing.active_children()}
    workers = _Workers(others)
    try:
        with process_pool(count) as pool:
            waiting = deque(submit_all(pool, work, tasks[: _AHEAD * count]))
            workers.look()
            following = len(waiting)
            while waiting:
                workers.watch(waiting)
                yield waiting.popleft().result()
                waiting.extend(submit_all(pool, work, tasks[following : following + 1]))
                following += 1
    except BrokenProcessPool:
        raise LostError(workers.loss()) from None
    except MemoryError:
        raise LostError(Loss(how="ran out of memory", peak_bytes=workers.peak_bytes)) from None


@dataclass(slots=True)
class _Workers:
    """The processes of a pool, as far as the system tells of them."""

    others: set[int | None]
    known: dict[int, BaseProcess] = field(default_factory=dict)
    peak_bytes: int = 0

    def watch(self, waiting: Sequence[Future[_Result]]) -> None:
        """Wait for the first of the futures.

        Raises:
            LostError: no worker finished anything for too long.
        """
        patience = patience_seconds()
        last, finished = time.monotonic(), -1
        while not waiting[0].done():
            wait([waiting[0]], timeout=_LOOK_SECONDS)
            self.look()
            if (count := sum(future.done() for future in waiting)) != finished:
                last, finished = time.monotonic(), count
            if time.monotonic() - last > patience:
                raise LostError(
                    Loss(
                        how=f"has not finished anything for {patience:g} seconds ({VARIABLE}) and counts as hung",
                        peak_bytes=self.peak_bytes,
                    )
                )

    def loss(self) -> Loss:
        """Return how the first of them ended that did not end well."""
        self.look()
        for process in self.known.values():
            process.join(_LOOK_SECONDS)
        codes = [process.exitcode for process in self.known.values() if process.exitcode not in (0, None)]
        killed = [-code for code in codes if code is not None and code < 0]
        killed.sort(key=lambda number: number == signal.SIGTERM)  # the pool itself ends the others so
        how = f"was killed by signal {killed[0]}" if killed else f"ended with exit code {codes[0] if codes else '?'}"
        return Loss(how=how, peak_bytes=self.peak_bytes)

    def look(self) -> None:
        """Take note of the workers that there are, and of the memory they hold."""
        for process in multiprocessing.active_children():
            if process.pid is not None and process.pid not in self.others:
                self.known[process.pid] = process
        for pid in self.known:
            self.peak_bytes = max(self.peak_bytes, _resident_bytes(pid))


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
