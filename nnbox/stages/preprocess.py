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


def preprocess_units(context: Context, taken: TakenIn, plan: Plan, configurations: tuple[str, ...]) -> list[Unit]:
    """Return one unit per training case; it covers every store."""
    stores = store_configurations(plan, configurations)
    common = {f"preparation {item.store}": preparation_digest(plan, item) for item in stores}
    folders = [context.workspace.store(item.store) for item in stores]
    return [
        Unit(
            name=f"preprocess/{case.name}",
            version=VERSION,
            inputs=common | taken.case_digests(case),
            outputs=tuple(path for folder in folders for path in store_paths(folder, case.name)),
        )
        for case in taken.dataset.cases
    ]


def preprocess(context: Context, taken: TakenIn, plan: Plan, configurations: tuple[str, ...]) -> None:
    """Prepare every training case that is not prepared yet, in worker processes."""
    units = preprocess_units(context, taken, plan, configurations)
    waiting = [pair for pair in zip(units, taken.dataset.cases, strict=True) if not context.receipts.is_done(pair[0])]
    done = len(units) - len(waiting)
    if not waiting:
        context.journal.say("preprocess", f"preprocess: all {len(units)} cases are prepared already")
        return
    stores = tuple((context.workspace.store(item.store), item) for item in store_configurations(plan, configurations))
    names = ", ".join(item.store for _, item in stores)
    already = f" ({done} are done already)" if done else ""
    context.journal.say("preprocess", f"preprocess: {len(waiting)} cases for {names}{already}")
    tasks = [_Task(root=context.root, case=case, plan=plan, stores=stores) for _, case in waiting]
    results = run_all(prepare_case, tasks, workers=context.workers)
    for (unit, case), seconds in zip(waiting, results, strict=True):
        context.receipts.write(unit, seconds=seconds)
        context.journal.note("prepared", f"prepared {case.name}", {"case": case.name, "seconds": seconds})


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
