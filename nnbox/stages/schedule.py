"""What is to be trained, and what each network depends on. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from nnbox.files import digest_text
from nnbox.records.codec import encode
from nnbox.records.plan import ConfigurationPlan, Folds, Plan
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.projection import step_operations
from nnbox.stages.receipts import Unit

VERSION = 1
OPTION = "option "
"""Before the names of inputs that are options of the command line."""
Place = tuple[str, int]
"""A network of a run: configuration and fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What is trained: the units in order, and why units were added to what was asked for.

    Attributes:
        units: in the order of work: what takes longest first, counting what can begin only after it.
        notes: sentences for the user.
        first_stages: of each cascade in it the configuration that it learns from.
    """

    units: tuple[Place, ...]
    notes: tuple[str, ...]
    first_stages: Mapping[str, str] = field(default_factory=dict)

    @property
    def configurations(self) -> tuple[str, ...]:
        """The configurations that occur, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.units))

    def needs(self, place: Place) -> tuple[Place, ...]:
        """Return the networks that must be validated before one can be trained: all of a cascade's first stage."""
        first = self.first_stages.get(place[0])
        return () if first is None else tuple(other for other in self.units if other[0] == first)


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
    followed = {name: previous for name in names if (previous := plan.configuration(name).previous) is not None}
    ordered = [item.name for item in plan.configurations if item.name in names | first_stages]
    ordered.sort(key=lambda name: -_way(plan, name, followed))
    units = tuple((name, fold) for name in ordered for fold in (every if name in first_stages else chosen))
    return Schedule(units=units, notes=notes, first_stages=followed)


def _way(plan: Plan, name: str, followed: Mapping[str, str]) -> float:
    """Return the operations of a step of a network and of the longest that can begin only after it. Source: own.

    The recipes give every network equally many steps.
    """
    after = [_way(plan, second, followed) for second, first in followed.items() if first == name]
    return step_operations(plan.configuration(name)) + max(after, default=0.0)


def unit_name(place: Place) -> str:
    """Return the name of a network's unit of work."""
    return f"training/{place[0]}/fold_{place[1]}"


def schedule_facts(job: Job, schedule: Schedule) -> dict[str, Any]:
    """Return what there is to train, for whoever follows the run from its files."""
    return {
        "units": [[name, fold] for name, fold in schedule.units],
        # With a time budget these are not known yet; the event "layout" tells.
        "epochs": job.recipe.maximum_epochs if job.options.time_budget_seconds is None else None,
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
        f"{OPTION}epochs": str(options.epochs),
        f"{OPTION}iterations": str(options.iterations),
        f"{OPTION}seed": str(options.seed),
        f"{OPTION}precision": options.engine.precision.value,
        f"{OPTION}augmentation": options.engine.augmentation.value,
        f"{OPTION}without": ",".join(options.engine.without),
        "cases of the fold": digest_text("\n".join(job.folds.validation[fold])),
    }
    if options.time_budget_seconds is not None:
        # Not how long: what is left of a run may be given more time, and what is trained stays as it is.
        inputs["schedule"] = "laid out for a time budget"
    if configuration.previous is not None:
        inputs[f"plan of {configuration.previous}"] = _plan_digest(plan, plan.configuration(configuration.previous))
    for case in job.taken.dataset.cases:
        inputs |= job.taken.case_digests(case)
    folder = context.workspace.fold(name, fold)
    outputs = (folder / "weights.safetensors", folder / "progress.csv", folder / "result.json")
    return Unit(name=unit_name(place), version=VERSION, inputs=inputs, outputs=outputs)


def _plan_digest(plan: Plan, configuration: ConfigurationPlan) -> str:
    """Digest of what a configuration's training takes from the plan."""
    parts = (configuration, plan.axis_order, plan.normalizations, plan.labels, plan.channels, plan.choices)
    return digest_text(json.dumps([encode(part) for part in parts], sort_keys=True))


def begun(unit: Unit) -> Unit:
    """Return the unit under whose name an unfinished training says from which inputs it was begun."""
    return replace(unit, name=f"started/{unit.name}", outputs=())


def work_digest(context: Context, job: Job) -> str:
    """Digest of all that the networks of this plan depend on, whichever of them a run trains."""
    places = ((item.name, fold) for item in job.plan.configurations for fold in range(len(job.folds.validation)))
    units = (training_unit(context, job, place) for place in places)
    return digest_text(json.dumps([[unit.name, unit.inputs] for unit in units], sort_keys=True))


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
