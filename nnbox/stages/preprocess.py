"""Every training case prepared once per store: crop, resample, normalise."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.files import digest_text, flush_to_disk
from nnbox.imaging.as_taken import require_as_taken
from nnbox.imaging.io import read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.prepare import PreparedArrays, prepare_each
from nnbox.records.codec import encode
from nnbox.records.dataset import Case, FileState
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.pool import run_all
from nnbox.stages.receipts import Receipts, Unit
from nnbox.training.store import store_paths, write_to_stores

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One case and the stores that lack it.

    Attributes:
        root: the data set's root.
        case: the case.
        taken: what its files were when they were taken in.
        plan: of the data set.
        stores: folder of each store, and a configuration that reads it.
        units: of the case in each of them.
        receipts: where the receipts go.
    """

    root: Path
    case: Case
    taken: Mapping[Path, FileState]
    plan: Plan
    stores: tuple[tuple[Path, ConfigurationPlan], ...]
    units: tuple[Unit, ...]
    receipts: Receipts


def store_configurations(plan: Plan, configurations: tuple[str, ...]) -> tuple[ConfigurationPlan, ...]:
    """Return one configuration for each store that the named configurations read."""
    found: dict[str, ConfigurationPlan] = {}
    for name in configurations:
        configuration = plan.configuration(name)
        found.setdefault(configuration.store, configuration)
    return tuple(found.values())


def preparation_digest(plan: Plan, configuration: ConfigurationPlan) -> str:
    """Digest of the part of the plan that decides how a case is prepared for a store."""
    deciding = {
        "axis_order": encode(plan.axis_order),
        "normalizations": encode(plan.normalizations),
        "labels": encode(plan.labels),
        "resampling": encode(configuration.resampling),
        "replace_nonfinite": plan.choices.replace_nonfinite,
    }
    return digest_text(json.dumps(deciding, sort_keys=True))


def preprocess_unit(context: Context, taken: TakenIn, plan: Plan, store: ConfigurationPlan, case: Case) -> Unit:
    """Return the unit of one training case in one store; ``store`` is a configuration that reads it."""
    return Unit(
        name=f"preprocess/{store.store}/{case.name}",
        version=VERSION,
        inputs={"preparation": preparation_digest(plan, store), **taken.case_digests(case)},
        outputs=store_paths(context.workspace.store(store.store), case.name),
    )


def preprocess(context: Context, taken: TakenIn, plan: Plan, configurations: tuple[str, ...]) -> None:
    """Prepare every training case that is not prepared yet, in worker processes; a case is read once for all stores."""
    stores = store_configurations(plan, configurations)
    waiting = []
    for case in taken.dataset.cases:
        planned = {item: preprocess_unit(context, taken, plan, item, case) for item in stores}
        missing = [item for item in stores if not context.receipts.is_done(planned[item])]
        for item in missing:
            if damaged := context.receipts.damaged(planned[item].name):
                names = ", ".join(damaged)
                context.journal.warn("damaged", f"case {case.name}: {names} damaged or missing; prepared again")
        if missing:
            task = _Task(
                root=context.root,
                case=case,
                taken=taken.states(context.root, case),
                plan=plan,
                stores=tuple((context.workspace.store(item.store), item) for item in missing),
                units=tuple(planned[item] for item in missing),
                receipts=context.receipts,
            )
            waiting.append(task)
    count = len(taken.dataset.cases)
    if not waiting:
        context.journal.say("preprocess", f"preprocess: all {count} cases are prepared already")
        return
    names = ", ".join(item.store for item in stores)
    already = f" ({count - len(waiting)} are done already)" if len(waiting) < count else ""
    context.journal.say("preprocess", f"preprocess: {len(waiting)} cases for {names}{already}")
    prepared = run_all(
        prepare_case,
        waiting,
        workers=context.workers,
        name=lambda task: f"case {task.case.name}",
        tell=lambda sentence: context.journal.warn("worker_lost", sentence),
    )
    try:
        for task, seconds in zip(waiting, prepared, strict=True):
            name = task.case.name
            context.journal.note("prepared", f"prepared {name}", {"case": name, "seconds": seconds})
    finally:
        _flush_folders(waiting)


def _flush_folders(tasks: Sequence[_Task]) -> None:
    """Make last what was written: once for all cases, since that waits for the disk."""
    stores = {folder for task in tasks for folder, _ in task.stores}
    receipts = {task.receipts.path(unit.name).parent for task in tasks for unit in task.units}
    for folder in stores | receipts:
        if folder.is_dir():
            flush_to_disk(folder)


def prepare_case(task: _Task) -> float:
    """Read one case, prepare it for every store, write arrays and receipts; return the seconds it took.

    Raises:
        DataError: a file was changed since it was taken in.
    """
    started = time.monotonic()
    plan, case = task.plan, task.case
    image, grid = read_image(
        [task.root / path for path in case.images], replace_nonfinite=plan.choices.replace_nonfinite
    )
    labels = None
    if case.label is not None:
        values, _ = read_labels(task.root / case.label)
        labels = to_consecutive(values, plan.labels)
    require_as_taken(task.taken)
    states: dict[Path, FileState] = {}
    for arrays, folders in _together(prepare_each(image, labels, grid, plan, [item for _, item in task.stores]), task):
        states |= write_to_stores(folders, case.name, arrays, grid)
    seconds = round(time.monotonic() - started, 3)
    task.receipts.write_some(task.units, seconds=seconds, states=states)
    return seconds


def _together(prepared: tuple[PreparedArrays, ...], task: _Task) -> list[tuple[PreparedArrays, list[Path]]]:
    """Return what was prepared, with the folders of the stores that take the same."""
    found: dict[int, tuple[PreparedArrays, list[Path]]] = {}
    for arrays, (folder, _) in zip(prepared, task.stores, strict=True):
        found.setdefault(id(arrays), (arrays, []))[1].append(folder)
    return list(found.values())
