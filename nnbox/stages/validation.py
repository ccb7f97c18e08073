"""Out-of-fold predictions: every validation case by the one network that did not see it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.files import digest_file
from nnbox.inference.export import labels_on_prepared, probabilities_on_crop, store_probabilities
from nnbox.inference.manner import Manner
from nnbox.network.device import card_errors
from nnbox.records.plan import ConfigurationPlan
from nnbox.records.prepared import PreviousPrediction
from nnbox.stages.context import Context
from nnbox.stages.full_card import MORE_MEMORY, Asked, answered
from nnbox.stages.job import Job
from nnbox.stages.members import Member, load_member
from nnbox.stages.overseer import Overseer
from nnbox.stages.preprocess import preparation_digest
from nnbox.stages.receipts import Unit
from nnbox.training.store import load_image, load_prepared, load_previous, previous_paths, write_previous

VERSION = 1


def validate(context: Context, job: Job, place: tuple[ConfigurationPlan, int], overseer: Overseer) -> None:
    """Predict the validation cases of one fold with its final weights and keep the probabilities.

    A first stage's predictions are also carried to the second stage's grid. Source: 2018 §2.3, §2.1.

    Args:
        context: of the run.
        job: the planned task.
        place: configuration and fold.
        overseer: is asked before each case; what it raises ends the work.
    """
    configuration, fold = place
    folds, plan = job.folds, job.plan
    units = [validation_unit(context, job, configuration, fold, case) for case in folds.validation[fold]]
    pairs = zip(units, folds.validation[fold], strict=True)
    waiting = [(unit, case) for unit, case in pairs if not context.receipts.is_done(unit)]
    if not waiting:
        return
    started = time.monotonic()
    weights = {fold: context.workspace.weights(configuration.name, fold)}
    member = load_member(plan, configuration, weights, job.device, mirroring=True).seen_by(overseer.see)
    seen, manner = folds.training(fold), Manner()
    for unit, case in waiting:
        overseer.may_write()
        began = time.monotonic()
        manner = _predict(context, job, (member, manner), _Origin(fold=fold, seen=seen, case=case))
        context.receipts.write(unit, seconds=time.monotonic() - began)
    seconds = time.monotonic() - started
    context.journal.say(
        "validated",
        f"{configuration.name} fold {fold}: {len(waiting)} validation cases predicted in {seconds:.0f} s",
        {"configuration": configuration.name, "fold": fold, "cases": len(waiting), "seconds": round(seconds, 2)},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """A case and the fold that predicts it; ``seen`` are the cases its network was trained on."""

    case: str
    fold: int
    seen: tuple[str, ...]


def validation_unit(context: Context, job: Job, configuration: ConfigurationPlan, fold: int, case: str) -> Unit:
    """Return the unit of one out-of-fold prediction."""
    plan, name = job.plan, configuration.name
    labelled = next(item for item in job.taken.dataset.cases if item.name == case)
    inputs = {
        f"weights fold {fold}": digest_file(context.workspace.weights(name, fold)),
        "preparation": preparation_digest(plan, configuration),
        "mirror axes": str(plan.choices.mirror_axes),
        **job.taken.image_digests(labelled),
    }
    outputs = [context.workspace.validation(name, case)]
    if (second := job.second_stage(configuration)) is not None:
        inputs["second stage"] = preparation_digest(plan, second)
        outputs.extend(previous_paths(context.workspace.previous, case))
    if configuration.previous is not None:
        array, _ = previous_paths(context.workspace.previous, case)
        inputs["previous stage"] = digest_file(array)
    return Unit(name=f"validation/{name}/{case}", version=VERSION, inputs=inputs, outputs=tuple(outputs))


def _predict(context: Context, job: Job, how: tuple[Member, Manner], origin: _Origin) -> Manner:
    """Predict one case; return the manner in which the card had room for it."""
    member, manner = how
    configuration, workspace, case = member.configuration, context.workspace, origin.case
    store = workspace.store(configuration.store)
    placement = load_prepared(store, case).placement
    previous = load_previous(workspace.previous, case) if configuration.previous is not None else None
    image = np.array(load_image(store, case))

    def ask(manner: Manner) -> NDArray[np.float32]:
        with card_errors(job.device):
            return member.at(manner).predict(image, previous)

    asked = Asked(case=case, shape_vox=image.shape[1:], device=job.device, remedy=MORE_MEMORY)
    probabilities, manner = answered(ask, manner, asked, context.journal)
    on_crop = probabilities_on_crop(probabilities, placement, configuration.resampling)
    store_probabilities(workspace.validation(configuration.name, case), on_crop)
    if (second := job.second_stage(configuration)) is not None:
        target = load_prepared(workspace.store(second.store), case).placement
        labels = labels_on_prepared(probabilities, placement, target, configuration.resampling)
        side = PreviousPrediction(
            case=case, configuration=configuration.name, model_folds=(origin.fold,), trained_on=origin.seen
        )
        write_previous(workspace.previous, labels, side)
    return manner
