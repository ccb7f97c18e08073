"""The same work for many cases, in a few processes; the order of the results is the order of the tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from nnbox.errors import ResourceError
from nnbox.processes import process_pool, submit_all

_PRELOADED = ["nnbox.training.worker", "nnbox.imaging.prepare", "nnbox.imaging.io", "nnbox.evaluation.scores"]
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def run_all(work: Callable[[_Task], _Result], tasks: Sequence[_Task], *, workers: int) -> Iterator[_Result]:
    """Yield ``work(task)`` for every task, in order; in this process when one worker is enough.

    Raises:
        ResourceError: a worker was killed (most often for memory).
    """
    count = min(workers, len(tasks))
    if count <= 1:
        yield from map(work, tasks)
        return
    try:
        # One server serves this pool and the training workers: what both need is imported once.
        with process_pool(count, preload=_PRELOADED) as pool:
            for future in submit_all(pool, work, tasks):
                yield future.result()
    except BrokenProcessPool:
        raise ResourceError(
            f"a worker process was killed while {count} were running, most often because memory ran out. "
            "What to do: run again with fewer --workers; finished cases are kept."
        ) from None
