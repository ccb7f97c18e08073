"""The same work for many cases, in a few processes; the order of the results is the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from nnbox.errors import ResourceError
from nnbox.processes import start_server
from nnbox.supervision import supervised
from nnbox.threads import one_thread

_PRELOADED = (
    "nnbox.intake.read_case",
    "nnbox.imaging.prepare",
    "nnbox.training.store",
    "nnbox.stages.preprocess",
)
_PRELOADED_FOR_TRAINING = ("nnbox.training.worker", "nnbox.evaluation.scores")
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def _nobody(sentence: str) -> None:
    """Listen to nothing."""


def start_workers(*, training: bool = False) -> None:
    """Start what worker processes are forked from: early, since it has much to import; see `start_server`."""
    start_server((*_PRELOADED, *(_PRELOADED_FOR_TRAINING if training else ())))


def run_all(
    work: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    *,
    workers: int,
    name: Callable[[_Task], str] = str,
    tell: Callable[[str], None] = _nobody,
) -> Iterator[_Result]:
    """Yield ``work(task)`` for every task, in order; in this process when one worker is enough.

    Args:
        work: what is done with a task.
        tasks: all of them.
        workers: at most so many processes.
        name: of a task in messages.
        tell: is told when something is tried again; see `supervised`.

    Raises:
        ResourceError: a worker was killed, ran out of memory or hung, and so did one alone; names the task.
    """
    count = min(workers, len(tasks))
    if count <= 1:
        with_one_thread = one_thread()
        for task in tasks:
            try:
                with with_one_thread():  # as a worker does
                    result = work(task)
            except MemoryError:
                raise ResourceError(
                    f"{name(task)}: memory ran out. What to do: give more memory, or leave the case out with "
                    "--exclude; finished cases are kept."
                ) from None
            yield result
        return
    start_workers()
    yield from supervised(work, tasks, count, name=name, tell=tell)
