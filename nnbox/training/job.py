"""What one training unit is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnbox.errors import PlanError
from nnbox.files import digest_text
from nnbox.recipes import RECIPES, Recipe
from nnbox.records.codec import encode
from nnbox.records.engine import EngineWishes
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.records.precision import Precision
from nnbox.rules.schedule import ScheduleState, first_laid_out_state, first_state
from nnbox.training.store import check_previous


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """One training unit: a configuration on one fold.

    Attributes:
        plan: of the task.
        configuration: the part of the plan that is trained.
        recipe: the fixed choices.
        fold: which fold is left out.
        training_cases, validation_cases: names.
        store: folder of the configuration's prepared cases.
        previous_store: folder of out-of-fold first-stage label maps, where the configuration has a previous stage.
        folder: where progress, checkpoint and weights go.
        seed: the run's seed.
        device: ``cpu`` or ``cuda:N``, as torch spells it.
        workers: processes that prepare batches; 0 prepares them in this process. Results do not depend on it.
        epochs: at most so many instead of the recipe's.
        iterations: training steps per epoch instead of the recipe's; validation steps shrink in proportion.
        laid_out_epochs: epochs of a schedule laid out in advance for a time budget; None: the recipe's own schedule.
        deterministic: byte-identical weights from run to run (a CPU gives them anyway).
        engine: how it is computed, as asked for.
        at_once: None: no other process of the run trains meanwhile; else how many of them train on this device, this
            one included, as far as was known when it was begun. Results do not depend on it.
    """

    plan: Plan
    configuration: ConfigurationPlan
    recipe: Recipe
    fold: int
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    store: Path
    previous_store: Path | None
    folder: Path
    seed: int
    device: str = "cpu"
    workers: int = 0
    epochs: int | None = None
    iterations: int | None = None
    laid_out_epochs: int | None = None
    deterministic: bool = False
    engine: EngineWishes = field(default_factory=EngineWishes)
    at_once: int | None = None

    @property
    def unit(self) -> str:
        """The unit's name, from which its random streams derive."""
        return f"{self.configuration.name}/fold_{self.fold}"

    @property
    def schedule(self) -> Recipe:
        """The recipe with this job's epochs and iterations."""
        recipe = self.recipe
        if self.iterations is not None:
            usual = RECIPES.get(recipe.name, recipe)
            share = self.iterations * usual.validation_iterations // usual.iterations_per_epoch
            recipe = replace(recipe, iterations_per_epoch=self.iterations, validation_iterations=max(1, share))
        return recipe if self.epochs is None else replace(recipe, maximum_epochs=self.epochs)

    def first_state(self) -> ScheduleState:
        """Return where the schedule stands before the first epoch."""
        if self.laid_out_epochs is not None:
            return first_laid_out_state(self.schedule, self.laid_out_epochs)
        return first_state(self.schedule)

    def in_float32(self) -> TrainingJob:
        """Return the job as it is computed after a breakdown; its digest is another's, so it names no checkpoint."""
        return replace(self, engine=replace(self.engine, precision=Precision.FLOAT32))

    def digest(self) -> str:
        """Digest of everything that decides the weights; a checkpoint is continued only by a job with the same.

        How many epochs a laid-out schedule has is not in it: that changes with the time that is left. How
        it is computed is in it, as settled for the device.
        """
        from nnbox.training.engine import settled  # noqa: PLC0415 - torch, which the loader's workers never need

        deciding = {
            "unit": self.unit,
            "seed": self.seed,
            "recipe": encode(self.schedule),
            "configuration": encode(self.configuration),
            "labels": encode(self.plan.labels),
            "axis_order": encode(self.plan.axis_order),
            "mirror_axes": encode(self.plan.choices.mirror_axes),
            "training_cases": encode(self.training_cases),
            "validation_cases": encode(self.validation_cases),
            "engine": encode(settled(self.engine, self.device)),
        }
        if self.laid_out_epochs is not None:
            deciding["schedule"] = "laid out"
        return digest_text(json.dumps(deciding, sort_keys=True))


def require_trainable(job: TrainingJob) -> None:
    """See that a job may be trained.

    Raises:
        PlanError: its plan or recipe is not for training, or its stores do not fit its configuration.
        DataError: a previous-stage prediction must not be used.
    """
    if not (job.plan.trainable and job.recipe.trainable):
        raise PlanError(
            f"this plan must not be trained: {job.plan.why_not_trainable or 'its recipe is for planning only'}"
        )
    if (job.configuration.previous is None) != (job.previous_store is None):
        raise PlanError(
            f"{job.configuration.name} needs a store of previous predictions exactly if it has a previous stage"
        )
    if job.previous_store is not None:
        check_previous(job.previous_store, job.store, (*job.training_cases, *job.validation_cases))
