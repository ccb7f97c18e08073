"""Every training case prepared once per store: crop, resample, normalise."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from nnbox.files import digest_text
from nnbox.imaging.io import read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.prepare import prepare
from nnbox.records.codec import encode
from nnbox.records.dataset import Case
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.pool import run_all
from nnbox.stages.receipts import Unit
from nnbox.training.store import store_paths, write_prepared

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    root: Path
    case: Case
    plan: Plan
    stores: tuple[tuple[Path, ConfigurationPlan], ...]


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
    waiting: list[tuple[_Task, list[Unit]]] = []
    for case in taken.dataset.cases:
        planned = {item: preprocess_unit(context, taken, plan, item, case) for item in stores}
        missing = [item for item in stores if not context.receipts.is_done(planned[item])]
        if missing:
            places = tuple((context.workspace.store(item.store), item) for item in missing)
            task = _Task(root=context.root, case=case, plan=plan, stores=places)
            waiting.append((task, [planned[item] for item in missing]))
    count = len(taken.dataset.cases)
    if not waiting:
        context.journal.say("preprocess", f"preprocess: all {count} cases are prepared already")
        return
    names = ", ".join(item.store for item in stores)
    already = f" ({count - len(waiting)} are done already)" if len(waiting) < count else ""
    context.journal.say("preprocess", f"preprocess: {len(waiting)} cases for {names}{already}")
    results = run_all(prepare_case, [task for task, _ in waiting], workers=context.workers)
    for (task, finished), seconds in zip(waiting, results, strict=True):
        for unit in finished:
            context.receipts.write(unit, seconds=seconds)
        name = task.case.name
        context.journal.note("prepared", f"prepared {name}", {"case": name, "seconds": seconds})


def prepare_case(task: _Task) -> float:
    """Read one case, prepare it for every store and write the arrays; return the seconds it took."""
    started = time.monotonic()
    plan = task.plan
    image, grid = read_image(
        [task.root / path for path in task.case.images], replace_nonfinite=plan.choices.replace_nonfinite
    )
    labels = None
    if task.case.label is not None:
        values, _ = read_labels(task.root / task.case.label)
        labels = to_consecutive(values, plan.labels)
    for folder, configuration in task.stores:
        arrays = prepare(image, labels, grid, plan, configuration)
        write_prepared(folder, task.case.name, arrays, grid)
    return round(time.monotonic() - started, 3)
