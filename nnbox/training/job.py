"""What one training unit is given, and what it tells while it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from nnbox.files import digest_text
from nnbox.recipes import Recipe
from nnbox.records.codec import encode
from nnbox.records.plan import ConfigurationPlan, Plan


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
        deterministic: byte-identical weights from run to run (a CPU gives them anyway).
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
    deterministic: bool = False

    @property
    def unit(self) -> str:
        """The unit's name, from which its random streams derive."""
        return f"{self.configuration.name}/fold_{self.fold}"

    @property
    def schedule(self) -> Recipe:
        """The recipe with this job's epochs and iterations."""
        recipe = self.recipe
        if self.iterations is not None:
            share = self.iterations * recipe.validation_iterations // recipe.iterations_per_epoch
            recipe = replace(recipe, iterations_per_epoch=self.iterations, validation_iterations=max(1, share))
        return recipe if self.epochs is None else replace(recipe, maximum_epochs=self.epochs)

    def digest(self) -> str:
        """Digest of everything that decides the weights; a checkpoint is continued only by a job with the same."""
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
        }
        return digest_text(json.dumps(deciding, sort_keys=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        configuration, fold: of which unit.
        epoch: 1-based.
        maximum_epochs: the schedule's limit.
        rate: learning rate of this epoch.
        training_loss, validation_loss: means over the epoch's steps.
        training_average, validation_average: their moving averages.
        dice: per foreground label the Dice over all validation patches taken together (a rough guide, on random
            patches, for display only); None where neither reference nor prediction holds the label.
        seconds: wall-clock time of the epoch.
    """

    configuration: str
    fold: int
    epoch: int
    maximum_epochs: int
    rate: float
    training_loss: float
    validation_loss: float
    training_average: float
    validation_average: float
    dice: tuple[float | None, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """How long a training step takes, measured once per unit, so that the total can be projected.

    Attributes:
        configuration, fold: of which unit.
        steps: how many steps were measured (warm-up left out).
        seconds_per_step: their mean wall-clock time, data included.
        steps_left: training steps of this unit that are still to come, by the schedule's limit.
    """

    configuration: str
    fold: int
    steps: int
    seconds_per_step: float
    steps_left: int


Report = EpochRecord | StepTiming
