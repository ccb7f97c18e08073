"""The cases in a few processes; a case that kills its process is a finding, and the others go on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from nnbox.errors import DataError, Problem, Severity
from nnbox.imaging.counts import FineCounts
from nnbox.intake.facts import CaseReading, CaseTask, SecondTask
from nnbox.intake.read_case import count_again, label_values, read_case
from nnbox.processes import process_pool, start_server, submit_all
from nnbox.threads import one_thread

_AHEAD = 8
_PRELOADED = ("nnbox.intake.read_case",)
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def read_cases(tasks: Sequence[CaseTask], workers: int) -> Iterator[CaseReading]:
    """Read every case and yield what it gave, in order; see `nnbox.intake.read_case`."""
    return _run(read_case, tasks, workers, _killed)


def values_of_cases(tasks: Sequence[CaseTask], workers: int) -> tuple[int, ...]:
    """Return every label value that occurs in a case, ascending."""
    found = _run(label_values, tasks, workers, lambda _: ())
    return tuple(sorted({value for values in found for value in values}))


def count_cases_again(tasks: Sequence[SecondTask], workers: int) -> Iterator[FineCounts]:
    """Read the labelled cases once more for their intensities; see `nnbox.intake.read_case.count_again`.

    Raises:
        DataError: a case cannot be read any more.
    """
    return _run(count_again, tasks, workers, _killed_again)


def _run(
    work: Callable[[_Task], _Result],
    tasks: Sequence[_Task],
    workers: int,
    killed: Callable[[_Task], _Result],
) -> Iterator[_Result]:
    if workers <= 1 or len(tasks) <= 1:
        with_one_thread = one_thread()
        for task in tasks:
            with with_one_thread():  # as a worker does
                result = work(task)
            yield result
        return
    count, done = min(workers, len(tasks)), 0
    while done < len(tasks):
        try:
            for result in _collect(work, tasks[done:], count):
                yield result
                done += 1
        except BrokenProcessPool:
            if count == 1:
                # Alone in its process, the first unfinished case is the one that ended it.
                yield killed(tasks[done])
                done += 1
            count = 1


def _collect(work: Callable[[_Task], _Result], tasks: Sequence[_Task], count: int) -> Iterator[_Result]:
    """Yield results in order; only a few are ever waiting, so that their number costs no memory."""
    start_server(_PRELOADED)
    with process_pool(count) as pool:
        waiting = deque(submit_all(pool, work, tasks[: _AHEAD * count]))
        for next_task in range(len(waiting), len(tasks) + len(waiting)):
            result = waiting.popleft().result()
            waiting.extend(submit_all(pool, work, tasks[next_task : next_task + 1]))
            yield result


def _killed(task: CaseTask) -> CaseReading:
    problem = Problem(
        severity=Severity.ERROR,
        what="the process that read it was killed, most often because memory ran out",
        expected="a case that fits into memory",
        remedy=f"give more memory, or leave it out with --exclude {task.case.name}",
        case=task.case.name,
        file=task.case.images[0],
    )
    return CaseReading(name=task.case.name, problems=(problem,))


def _killed_again(task: SecondTask) -> FineCounts:
    raise DataError(f"{task.case.root} cannot be read a second time", _killed(task.case).problems)
