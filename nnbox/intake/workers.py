"""The cases in a few processes; a case that kills its process is a finding, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from nnbox.errors import Problem, Severity
from nnbox.intake.facts import CaseReading, CaseTask
from nnbox.intake.read_case import label_values, read_case
from nnbox.processes import process_pool, submit_all

_Result = TypeVar("_Result")


def read_cases(tasks: Sequence[CaseTask], workers: int) -> tuple[CaseReading, ...]:
    """Read every case, in order; see `nnbox.intake.read_case`."""
    return _run(read_case, tasks, workers, _killed)


def values_of_cases(tasks: Sequence[CaseTask], workers: int) -> tuple[int, ...]:
    """Return every label value that occurs in a case, ascending."""
    found = _run(label_values, tasks, workers, lambda _: ())
    return tuple(sorted({value for values in found for value in values}))


def _run(
    work: Callable[[CaseTask], _Result],
    tasks: Sequence[CaseTask],
    workers: int,
    killed: Callable[[CaseTask], _Result],
) -> tuple[_Result, ...]:
    if workers <= 1 or len(tasks) <= 1:
        return tuple(work(task) for task in tasks)
    results: list[_Result] = []
    count = min(workers, len(tasks))
    while len(results) < len(tasks):
        before = len(results)
        whole = _collect(work, tasks[before:], count, results)
        if not whole and count == 1:
            # Alone in its process, the first unfinished case is the one that ended it.
            results.append(killed(tasks[len(results)]))
        count = count if whole else 1
    return tuple(results)


def _collect(
    work: Callable[[CaseTask], _Result], tasks: Sequence[CaseTask], count: int, results: list[_Result]
) -> bool:
    """Append results in order; False if a worker process died before the end."""
    try:
        with process_pool(count) as pool:
            for future in submit_all(pool, work, tasks):
                results.append(future.result())
    except BrokenProcessPool:
        return False
    return True


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
