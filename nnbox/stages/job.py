"""Everything that is settled before a task's networks are trained."""

from __future__ import annotations

from dataclasses import dataclass

from nnbox.network.device import Device
from nnbox.recipes import Recipe
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import ConfigurationPlan, Folds, Plan
from nnbox.stages.context import TakenIn
from nnbox.stages.options import TrainOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One task, planned.

    Attributes:
        taken: the data set with the digest of every file.
        fingerprint: of the data set.
        plan: what follows from the data.
        folds: of the cross-validation.
        recipe: what does not; ``maximum_epochs`` and ``iterations_per_epoch`` already hold what the user asked for.
        options: what the user asked for.
        device: where networks run, and the first of those that train.
        devices: where networks are trained; empty for the one device.
        at_once: see `nnbox.training.job.TrainingJob`.
        configurations: those of this run, in the order of the plan.
    """

    taken: TakenIn
    fingerprint: Fingerprint
    plan: Plan
    folds: Folds
    recipe: Recipe
    options: TrainOptions
    device: Device
    configurations: tuple[str, ...]
    devices: tuple[Device, ...] = ()
    at_once: int | None = None

    def second_stage(self, configuration: ConfigurationPlan) -> ConfigurationPlan | None:
        """Return the configuration of this run that reads the given one's predictions, or None."""
        planned = (self.plan.configuration(name) for name in self.configurations)
        return next((item for item in planned if item.previous == configuration.name), None)
