"""How long the whole training will take, from measured steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnbox.errors import ResourceError
from nnbox.network.counting import operations_per_voxel
from nnbox.records.plan import ConfigurationPlan, Plan

_LONGEST_UNASKED_HOURS = 24.0


@dataclass(slots=True)
class Projection:
    """Measured seconds per step, and what they mean for all units.

    Attributes:
        plan: of the task.
        units: every (configuration, fold) of the run.
        epochs: at most so many per unit.
        iterations: steps per epoch.
        measured: seconds per step, by configuration.
        at_once: networks that are trained side by side.
    """

    plan: Plan
    units: tuple[tuple[str, int], ...]
    epochs: int
    iterations: int
    measured: dict[str, float] = field(default_factory=dict)
    at_once: int = 1

    def measure(self, configuration: str, seconds_per_step: float) -> bool:
        """Take a measurement; return whether it is the configuration's first."""
        first = configuration not in self.measured
        self.measured[configuration] = seconds_per_step
        return first

    def total_hours(self) -> float:
        """Hours for all units; a configuration not yet measured is taken from its operations. Needs one measurement."""
        seconds = sum(self._seconds_per_step(name) for name, _ in self.units)
        return seconds * self.epochs * self.iterations / 3600 / self.at_once

    def sentence(self) -> str:
        """The projection in words, saying what was measured and what was not."""
        measured = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in self.measured.items())
        guessed = sorted({name for name, _ in self.units} - set(self.measured))
        rest = f"; {', '.join(guessed)} from the operations it needs" if guessed else ""
        return (
            f"projected training time: {duration(self.total_hours() * 3600)} at most for {len(self.units)} networks of "
            f"{self.epochs} epochs x {self.iterations} steps (measured per step: {measured}{rest})"
        )

    def require_sensible(self, *, cpu: bool, wanted: bool) -> None:
        """Stop a run that would take days on a CPU nobody asked for.

        Raises:
            ResourceError: the device is the CPU, it was not asked for, and the projection exceeds 24 hours.
        """
        if cpu and not wanted and self.total_hours() > _LONGEST_UNASKED_HOURS:
            raise ResourceError(
                f"{self.sentence()}. No GPU is visible, and a CPU was not asked for. What to do: start the "
                "container with --gpus all; or say --device cpu to let it take its time; or set a budget with "
                "--epochs or --time-budget."
            )

    def _seconds_per_step(self, name: str) -> float:
        if name in self.measured:
            return self.measured[name]
        known, seconds = next(iter(self.measured.items()))
        return seconds * self._operations(name) / self._operations(known)

    def _operations(self, name: str) -> float:
        configuration = self.plan.configuration(name)
        return step_operations(configuration)


def step_operations(configuration: ConfigurationPlan) -> float:
    """Return the multiply-adds of one forward pass of a batch."""
    voxels = float(configuration.batch_size)
    for size in configuration.patch_size:
        voxels *= size
    return voxels * operations_per_voxel(configuration.topology)


def duration(seconds: float) -> str:
    """Write a duration for people: ``45 s``, ``12 min``, ``3.5 h``, ``12 days``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
