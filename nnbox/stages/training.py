"""Every configuration and fold trained once; a finished one is never overwritten."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nnbox.errors import ChangedRunError
from nnbox.files import digest_text
from nnbox.network.device import Device
from nnbox.recipes import Recipe
from nnbox.records.codec import encode, write_record
from nnbox.records.plan import ConfigurationPlan, Folds, Plan
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.options import TrainOptions
from nnbox.stages.projection import Projection
from nnbox.stages.receipts import Unit
from nnbox.training.loop import EpochRecord, StepTiming, TrainingJob, train_fold

VERSION = 1


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


def schedule_units(plan: Plan, folds: Folds, wanted: tuple[str, ...] | None, only: tuple[int, ...] | None) -> Schedule:
    """List the units to train.

    The cascade learns from out-of-fold predictions of every first-stage fold, so that it brings all of them along.
    """
    names = [item.name for item in plan.configurations if wanted is None or item.name in wanted]
    chosen = tuple(range(len(folds.validation))) if only is None else tuple(sorted(set(only)))
    every = tuple(range(len(folds.validation)))
    complete = {plan.configuration(name).previous for name in names} - {None}
    notes = []
    for first in sorted(str(name) for name in complete):
        if first not in names or chosen != every:
            names = [item.name for item in plan.configurations if item.name in {*names, first}]
            notes.append(
                f"{first} is trained in all {len(every)} folds, since the cascade learns from its out-of-fold predictions"
            )
    units = tuple((name, fold) for name in names for fold in (every if name in complete else chosen))
    return Schedule(units=units, notes=tuple(notes))


def training_unit(
    context: Context,
    taken: TakenIn,
    plan: Plan,
    folds: Folds,
    recipe: Recipe,
    options: TrainOptions,
    place: tuple[str, int],
) -> Unit:
    """Name everything the weights of one unit depend on."""
    name, fold = place
    configuration = plan.configuration(name)
    inputs = {
        "recipe": digest_text(json.dumps(encode(recipe), sort_keys=True)),
        f"plan {name}": _plan_digest(plan, configuration),
        "option epochs": str(options.epochs),
        "option iterations": str(options.iterations),
        "option seed": str(options.seed),
        "validation cases": digest_text("\n".join(folds.validation[fold])),
    }
    if configuration.previous is not None:
        inputs[f"plan {configuration.previous}"] = _plan_digest(plan, plan.configuration(configuration.previous))
    for case in taken.dataset.cases:
        inputs |= taken.case_digests(case)
    folder = context.workspace.fold(name, fold)
    outputs = (folder / "weights.safetensors", folder / "progress.csv", folder / "result.json")
    return Unit(name=f"training/{name}/fold_{fold}", version=VERSION, inputs=inputs, outputs=outputs)


def _plan_digest(plan: Plan, configuration: ConfigurationPlan) -> str:
    """Digest of what a configuration's training takes from the plan."""
    parts = (configuration, plan.axis_order, plan.normalizations, plan.labels, plan.channels, plan.choices.mirror_axes)
    return digest_text(json.dumps([encode(part) for part in parts], sort_keys=True))


def started_name(unit: Unit) -> str:
    """Name of the receipt that says from which inputs an unfinished unit was started."""
    return f"started/{unit.name}"


def require_unchanged(context: Context, units: Sequence[Unit]) -> None:
    """See that no trained unit, finished or begun, would have to be thrown away.

    Raises:
        ChangedRunError: inputs, options or version differ; the message lists each difference.
    """
    changed: dict[str, list[str]] = {}
    for unit in units:
        for name in (unit.name, started_name(unit)):
            for difference in context.receipts.differences(replace(unit, name=name)) or ():
                changed.setdefault(difference, []).append(unit.name.removeprefix("training/"))
    if not changed:
        return
    lines = [f"  - {difference} ({', '.join(dict.fromkeys(names))})" for difference, names in changed.items()]
    raise ChangedRunError(
        f"{context.workspace.root} holds trained networks that this command would not give again. What changed:\n"
        + "\n".join(lines[:20])
        + (f"\n  … and {len(lines) - 20} more" if len(lines) > 20 else "")
        + "\nWhat to do: repeat the command as it was, use another --output, or add --restart, which moves the old run aside."
    )
