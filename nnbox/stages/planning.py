"""From a fingerprint, or from a file that holds one, to a plan."""

from __future__ import annotations

from pathlib import Path

from nnbox.errors import UsageError
from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import fingerprint_of, take_in
from nnbox.layouts.detect import find_tasks
from nnbox.records.codec import read_json
from nnbox.records.dataset import Choices
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Plan
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.planning import make_plan
from nnbox.stages.intake import Found, require_sound
from nnbox.stages.journal import Journal, Listener

DEFAULT_MEMORY_GB = 12.0


def plan_found(found: Found, recipe: str, memory_gb: float | None) -> Plan:
    """Plan a data set that was read."""
    return make_plan(
        found.fingerprint,
        recipe=recipe,
        planning_memory_gb=require_memory(memory_gb),
        choices=found.taken.dataset.choices,
    )


def plan_from_file(path: Path, task: str | None, recipe: str, memory_gb: float | None) -> tuple[Fingerprint, Plan]:
    """Plan from a fingerprint file: our own record, or the documented input format (one task, or many with ``--task``).

    Raises:
        RecordError: the file is no such document.
        UsageError: the task must be named, or is not in the file.
    """
    fingerprint = fingerprint_from_json(read_json(path), task=task, where=str(path))
    plan = make_plan(fingerprint, recipe=recipe, planning_memory_gb=require_memory(memory_gb), choices=Choices())
    return fingerprint, plan


def plan_from_data(
    root: Path, intake: IntakeOptions, recipe: str, memory_gb: float | None, workers: int, listener: Listener
) -> tuple[Fingerprint, Plan]:
    """Plan a data set without writing anything.

    Raises:
        UsageError: several tasks lie below the root.
        DataError: the data set is not sound.
    """
    roots = find_tasks(root)
    if len(roots) > 1:
        names = ", ".join(item.name for item in roots)
        raise UsageError(f"{root} holds several tasks ({names}); name one with --input")
    result = take_in(roots[0], intake, workers=workers)
    dataset = require_sound(result.dataset, result.problems, Journal(None, listener), roots[0])
    fingerprint = fingerprint_of(result)
    memory = require_memory(memory_gb)
    return fingerprint, make_plan(fingerprint, recipe=recipe, planning_memory_gb=memory, choices=dataset.choices)


def require_memory(memory_gb: float | None) -> float:
    """Return the planner's memory in GB.

    Raises:
        UsageError: not a positive number.
    """
    memory_gb = DEFAULT_MEMORY_GB if memory_gb is None else memory_gb
    if not memory_gb > 0:
        raise UsageError(f"--planning-memory {memory_gb:g}: a positive number of GB is expected")
    return memory_gb
