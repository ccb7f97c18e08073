"""Out-of-fold predictions: every validation case by the one network that did not see it."""

from __future__ import annotations

import time

from nnbox.inference.export import labels_on_prepared, probabilities_on_crop, store_probabilities
from nnbox.network.device import Device
from nnbox.records.plan import ConfigurationPlan, Folds, Plan
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.members import Member, load_member
from nnbox.stages.preprocess import preparation_digest
from nnbox.stages.receipts import Unit, file_state
from nnbox.training.store import (
    PreviousPrediction,
    load_image,
    load_prepared,
    load_previous,
    previous_paths,
    write_previous,
)

VERSION = 1


def validate(  # noqa: PLR0913
    context: Context, taken: TakenIn, plan: Plan, folds: Folds, configuration: ConfigurationPlan, fold: int, device: Device
) -> None:
    """Predict the validation cases of one fold with its final weights and keep the probabilities.

    A first stage's predictions are also carried to the second stage's grid. Source: 2018 §2.3, §2.1.
    """
    units = [validation_unit(context, taken, plan, configuration, fold, case) for case in folds.validation[fold]]
    waiting = [unit for unit in units if not context.receipts.is_done(unit)]
    if not waiting:
        return
    started = time.monotonic()
    weights = {fold: context.workspace.weights(configuration.name, fold)}
    member = load_member(plan, configuration, weights, device, mirroring=True)
    for unit in waiting:
        case = unit.name.rsplit("/", 1)[1]
        context.receipts.carry_out(unit, lambda case=case: _predict(context, plan, member, fold, case))  # type: ignore[misc]
    seconds = time.monotonic() - started
    context.journal.say(
        "validated",
        f"{configuration.name} fold {fold}: {len(waiting)} validation cases predicted in {seconds:.0f} s",
        {"configuration": configuration.name, "fold": fold, "cases": len(waiting), "seconds": round(seconds, 2)},
    )
