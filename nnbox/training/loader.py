"""Batches in order, made in this process or ahead of time in worker processes; the batches are the same either way.

Worker w of N makes batches w, w + N, …; each has a pipe of its own, so that no shared memory is needed and a batch that
is not yet wanted waits in its worker.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from nnbox.errors import DataError, NnboxError, ResourceError, TrainingError
from nnbox.interruption import whole
from nnbox.limits import memory_in_use_bytes
from nnbox.supervision import VARIABLE, patience_seconds
from nnbox.threads import one_thread
from nnbox.training.draw import SamplingPlan, drawn_cases
from nnbox.training.sample import Batch, Sampler
from nnbox.training.worker import STARVED, STOP, STOPPED, receive_arrays, receive_header, request_bytes, serve

_JOIN_SECONDS = 5.0
_NAMED = 8
"""So many cases of a batch are named in a message."""
_REMEDY = (
    "What to do: give more memory, then run the same command again; it continues from the last checkpoint. Should one "
    "case be to blame, leave it out with --exclude and another --output."
)
_log = logging.getLogger(__name__)
PRELOADED_MODULES = ("nnbox.training.worker", "nnbox.training.apply")


@dataclass(frozen=True, slots=True)
class _Worker:
    process: BaseProcess
    connection: Connection[Any, Any]


class WorkerPool:
    """Worker processes that serve one unit after another; closed by ``with`` or `close`.

    They are forked from a clean server process that has imported what they need, so that starting one takes
    milliseconds; where the system has no such server they are started afresh. Without workers (count 0) batches are
    made in this process.
    """

    def __init__(self, count: int, tell: Callable[[str], None] = _log.warning) -> None:
        """Promise ``count`` workers; they are started when batches are first asked of them.

        Args:
            count: of them.
            tell: is told, in a sentence, when one is lost and the others' work is done by a single new one.
        """
        self._count, self._tell = count, tell
        self._workers: list[_Worker] = []
        self._given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def batches(self, plan: SamplingPlan, first: int, last: int) -> Iterator[Batch]:
        """Yield the batches first..last-1 of a unit in order; close the iterator to leave it early.

        Raises:
            DataError: a prepared file is missing or damaged, or must not be used.
            TrainingError: a sample could not be made; names the case.
            ResourceError: a worker was killed, starved or hung, and then the only one, too: names the cases of the
                batch it was making; or none could be started.
        """
        index = first
        while not self._given_up:
            try:
                with closing(self._batches(plan, index, last)) as made:  # type: ignore[type-var]
                    for batch in made:
                        index += 1
                        yield batch
            except _LostError as error:
                if self._given_up:  # a feed's thread finds the workers ended that the training's thread has ended
                    return
                place = plan.unit if error.batch is None else _place(plan, error.batch)
                if self._count == 1:
                    raise ResourceError(f"{place}: {error}, though it worked alone. {_REMEDY}") from None
                self._tell(f"{place}: {error}. Now with one worker.")
                self.abandon()
                self._count = 1
            else:
                return

    def _batches(self, plan: SamplingPlan, first: int, last: int) -> Iterator[Batch]:
        self._start()
        if not self._workers:
            yield from _made_here(plan, first, last)
            return
        for place, worker in enumerate(self._workers):
            self._ask(worker, request_bytes(plan, first + place, last, len(self._workers)))
        try:
            for index in range(first, last):
                yield self._receive(self._workers[(index - first) % len(self._workers)], index)
        except _LostError:
            raise
        except (KeyboardInterrupt, SystemExit):
            self.abandon()  # a batch may be half received: what follows in its pipe makes no sense
            raise
        except BaseException:
            self._quiet()
            raise
        self._quiet()

    def close(self) -> None:
        """End the workers: closing a pipe ends the process behind it."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(_JOIN_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def give_up(self) -> None:
        """Want no more batches, for good: the workers end at once, and so does, at its next batch, who reads from them.

        For when this process must end within seconds. Another thread may be reading: the pipes are left to `close`.
        """
        self._given_up = True
        for worker in self._workers:
            worker.process.kill()

    def abandon(self) -> None:
        """End the workers at once, whatever they are doing; others are started when batches are asked for again."""
        for worker in self._workers:
            worker.process.kill()
        self.close()

    def _start(self) -> None:
        """Start the workers that were promised and are not there."""
        try:
            while len(self._workers) < self._count:
                with whole():  # one that is half started would not be known to be ended
                    self._workers.append(_start_worker())
        except OSError as error:
            self.close()
            raise ResourceError(
                f"worker processes could not be started ({error}). What to do: use fewer with --workers."
            ) from None

    def _receive(self, worker: _Worker, index: int) -> Batch:
        try:
            patience = patience_seconds()
            if not worker.connection.poll(patience):
                worker.process.kill()
                raise _LostError(
                    f"a worker process gave no batch for {patience:g} seconds ({VARIABLE}) and counts as hung", index
                )
            header = receive_header(worker.connection)
            if header == STARVED:
                raise _LostError(f"a worker process that prepares batches ran out of memory{_in_use()}", index)
            if "error" in header:
                raise _error(header)
            return receive_arrays(worker.connection, header)
        except (EOFError, OSError):
            raise self._lost(worker, index) from None  # it works in order: this one it was making, or sending

    def _ask(self, worker: _Worker, request: bytes) -> None:
        try:
            worker.connection.send_bytes(request)
        except OSError:
            raise self._lost(worker, None) from None

    def _quiet(self) -> None:
        """Bring every worker back to waiting for a request; batches on their way are dropped."""
        try:
            for worker in self._workers:
                worker.connection.send_bytes(json.dumps(STOP).encode())
            for worker in self._workers:
                while (header := self._next_header(worker)) != STOPPED:
                    if "image" in header:
                        receive_arrays(worker.connection, header)
        except (EOFError, OSError):
            self.abandon()  # a worker is lost, or hung; whoever reads from it hears of it first

    @staticmethod
    def _next_header(worker: _Worker) -> Any:
        """Receive what a worker says next.

        Raises:
            TimeoutError: it has said nothing for too long.
        """
        if not worker.connection.poll(patience_seconds()):
            raise TimeoutError
        return receive_header(worker.connection)

    def _lost(self, worker: _Worker, batch: int | None) -> _LostError:
        worker.process.join(_JOIN_SECONDS)
        code = worker.process.exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        return _LostError(f"a worker process that prepares batches {how}{_in_use()}; most often memory ran out", batch)


class _LostError(Exception):
    """A worker is of no more use; ``batch`` is the one that it was making, if any."""

    def __init__(self, sentence: str, batch: int | None) -> None:
        super().__init__(sentence)
        self.batch = batch


def _made_here(plan: SamplingPlan, first: int, last: int) -> Iterator[Batch]:
    sampler, with_one_thread = Sampler(plan), one_thread()
    for index in range(first, last):
        try:
            with with_one_thread():  # as a worker does
                batch = sampler.batch(index)
        except MemoryError:
            raise ResourceError(f"{_place(plan, index)}: memory ran out{_in_use()}. {_REMEDY}") from None
        yield batch


def _place(plan: SamplingPlan, index: int) -> str:
    """Name a batch, and the cases that its samples are drawn from."""
    cases = drawn_cases(plan, index)
    more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
    return f"{plan.unit}, batch {index} (case{'s' if len(cases) > 1 else ''} {', '.join(cases[:_NAMED])}{more})"


def _in_use() -> str:
    used = memory_in_use_bytes()
    return "" if used is None else f"; {used / 1e6:.0f} MB are in use"


def _start_worker() -> _Worker:
    here, there = _context().Pipe(duplex=True)
    process = _context().Process(target=serve, args=(there,), name="nnbox-loader", daemon=True)
    process.start()
    there.close()
    return _Worker(process, here)


def _context() -> Any:
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([*PRELOADED_MODULES])
        return context
    return multiprocessing.get_context("spawn")


def _error(header: dict[str, Any]) -> NnboxError:
    """Turn an error sent by a worker back into one of ours."""
    kinds: dict[int, type[NnboxError]] = {DataError.exit_code: DataError, ResourceError.exit_code: ResourceError}
    return kinds.get(header["exit_code"], TrainingError)(header["error"])
