"""The same work for many cases, in a few processes; the order of the results is the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from nnbox.errors import ResourceError
from nnbox.processes import process_pool, start_server, submit_all

_PRELOADED = (
    "nnbox.intake.read_case",
    "nnbox.imaging.prepare",
    "nnbox.training.store",
    "nnbox.stages.preprocess",
)
_PRELOADED_FOR_TRAINING = ("nnbox.training.worker", "nnbox.evaluation.scores")
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def start_workers(*, training: bool = False) -> None:
    """Start what worker processes are forked from: early, since it has much to import; see `start_server`."""
    start_server((*_PRELOADED, *(_PRELOADED_FOR_TRAINING if training else ())))


def run_all(work: Callable[[_Task], _Result], tasks: Sequence[_Task], *, workers: int) -> Iterator[_Result]:
    """Yield ``work(task)`` for every task, in order; in this process when one worker is enough.

    Raises:
        ResourceError: a worker was killed (most often for memory).
    """
    count = min(workers, len(tasks))
    if count <= 1:
        yield from map(work, tasks)
        return
    start_workers()
    try:
        with process_pool(count) as pool:
            for future in submit_all(pool, work, tasks):
                yield future.result()
    except BrokenProcessPool:
        raise ResourceError(
            f"a worker process was killed while {count} were running, most often because memory ran out. "
            "What to do: run again with fewer --workers; finished cases are kept."
        ) from None
