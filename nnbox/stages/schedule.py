"""What is to be trained, what each network depends on, and whether what was trained still holds. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnbox.errors import ChangedRunError
from nnbox.files import digest_text
from nnbox.records.codec import encode
from nnbox.records.plan import ConfigurationPlan, Folds, Plan
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.projection import step_operations
from nnbox.stages.receipts import Unit

VERSION = 1
_MOST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is trained: the units in order, and why units were added to what was asked for.

    Attributes:
        units: (configuration, fold) in the order of work; a first stage comes before its second stage.
        notes: sentences for the user.
    """

    units: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]

    @property
    def configurations(self) -> tuple[str, ...]:
        """The configurations that occur, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.units))


def schedule_units(
    plan: Plan, folds: Folds, wanted: tuple[str, ...] | None, chosen: tuple[int, ...] | None
) -> Schedule:
    """List the units to train.

    The cascade learns from out-of-fold predictions of every first-stage fold, so that it brings all of them along.
    """
    every = tuple(range(len(folds.validation)))
    chosen = every if chosen is None else tuple(sorted(set(chosen)))
    names = {item.name for item in plan.configurations if wanted is None or item.name in wanted}
    first_stages = {previous for name in names if (previous := plan.configuration(name).previous) is not None}
    notes = tuple(
        f"{first} is trained in all {len(every)} folds: the cascade learns from its out-of-fold predictions"
        for first in sorted(first_stages)
        if first not in names or chosen != every
    )
    # A first stage comes before its second stage, whatever the order of the plan.
    ordered = [item.name for item in plan.configurations if item.name in names | first_stages]
    ordered.sort(key=lambda name: plan.configuration(name).previous is not None)
    units = tuple((name, fold) for name in ordered for fold in (every if name in first_stages else chosen))
    return Schedule(units=units, notes=notes)


def schedule_facts(job: Job, schedule: Schedule) -> dict[str, Any]:
    """Return what there is to train, for whoever follows the run from its files."""
    return {
        "units": [[name, fold] for name, fold in schedule.units],
        "epochs": job.recipe.maximum_epochs,
        "iterations": job.options.iterations or job.recipe.iterations_per_epoch,
        "operations": {name: step_operations(job.plan.configuration(name)) for name in schedule.configurations},
        "cases": {"prepared": len(job.taken.dataset.cases), "predicted": len(job.taken.dataset.test_cases)},
    }


def training_unit(context: Context, job: Job, place: tuple[str, int]) -> Unit:
    """Name everything the weights of one unit depend on."""
    name, fold = place
    plan, options = job.plan, job.options
    configuration = plan.configuration(name)
    inputs = {
        "recipe": job.recipe.name,
        "recipe's values": digest_text(json.dumps(encode(replace(job.recipe, maximum_epochs=0)), sort_keys=True)),
        f"plan of {name}": _plan_digest(plan, configuration),
        "option epochs": str(options.epochs),
        "option iterations": str(options.iterations),
        "option seed": str(options.seed),
        "cases of the fold": digest_text("\n".join(job.folds.validation[fold])),
    }
    if configuration.previous is not None:
        inputs[f"plan of {configuration.previous}"] = _plan_digest(plan, plan.configuration(configuration.previous))
    for case in job.taken.dataset.cases:
        inputs |= job.taken.case_digests(case)
    folder = context.workspace.fold(name, fold)
    outputs = (folder / "weights.safetensors", folder / "progress.csv", folder / "result.json")
    return Unit(name=f"training/{name}/fold_{fold}", version=VERSION, inputs=inputs, outputs=outputs)


def _plan_digest(plan: Plan, configuration: ConfigurationPlan) -> str:
    """Digest of what a configuration's training takes from the plan."""
    parts = (configuration, plan.axis_order, plan.normalizations, plan.labels, plan.channels, plan.choices)
    return digest_text(json.dumps([encode(part) for part in parts], sort_keys=True))


def begun(unit: Unit) -> Unit:
    """Return the unit under whose name an unfinished training says from which inputs it was begun."""
    return replace(unit, name=f"started/{unit.name}", outputs=())


def require_unchanged(context: Context, job: Job) -> None:
    """See that no trained unit, finished or begun, in this run's schedule or not, would have to be thrown away.

    Raises:
        ChangedRunError: inputs, options or version differ; the message lists each difference.
    """
    folds = range(len(job.folds.validation))
    places = [(item.name, fold) for item in job.plan.configurations for fold in folds]
    units = {unit.name: unit for unit in (training_unit(context, job, place) for place in places)}
    changed: dict[str, list[str]] = {}
    for name in context.receipts.names("training"):
        if name not in units:
            changed.setdefault("units that this plan does not have", []).append(name.removeprefix("training/"))
    for unit in units.values():
        for recorded in (unit, begun(unit)):
            for difference in context.receipts.differences(recorded) or ():
                changed.setdefault(difference, []).append(unit.name.removeprefix("training/"))
    if not changed:
        return
    lines = [f"  - {difference} ({_few(names)})" for difference, names in changed.items()]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"  - … and {len(lines) - _MOST_LINES} more differences"]
    raise ChangedRunError(
        f"{context.workspace.root} holds trained networks that this command would not give again. What changed:\n"
        + "\n".join(lines)
        + "\nWhat to do: repeat the command as it was; or use another --output; or add --restart, which moves the old "
        "run aside."
    )


def _few(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique) if len(unique) <= 3 else f"{unique[0]} and {len(unique) - 1} other units"


def complete_folds(context: Context, job: Job) -> dict[str, tuple[int, ...]]:
    """Return, per planned configuration, the folds trained from these very inputs and validated, now or before."""
    found: dict[str, tuple[int, ...]] = {}
    for configuration in job.plan.configurations:
        done = tuple(
            fold
            for fold, cases in enumerate(job.folds.validation)
            if context.receipts.is_done(training_unit(context, job, (configuration.name, fold)))
            and all(context.workspace.validation(configuration.name, case).exists() for case in cases)
        )
        if done:
            found[configuration.name] = done
    return found
