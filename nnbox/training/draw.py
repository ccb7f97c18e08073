"""What is drawn for every sample: case, place, augmentation. The same whoever augments. No torch in here.

Each draw depends on (seed, unit, step, sample) alone, so that a batch can be drawn in any process, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import NnboxError, TrainingError
from nnbox.randomness import generator
from nnbox.records.augmentation import SampleAugmentation
from nnbox.rules.augmentation import AugmentationSpec, augmentation_spec, draw_augmentation
from nnbox.rules.sampling import choose_case, choose_forced_class, choose_patch_start, forced_samples
from nnbox.training.job import TrainingJob


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """What a loader needs to know of a job; travels to worker processes as JSON.

    Attributes:
        unit, seed: name the random streams.
        store, previous_store: folders of the arrays.
        training_cases, validation_cases: names.
        patch_size: 2 or 3 sizes in voxels.
        forced: for each sample of a batch whether it must hold foreground.
        augmentation: what may be drawn.
        training_steps, validation_steps: per epoch.
    """

    RECORD: ClassVar[str] = "sampling_plan"
    VERSION: ClassVar[int] = 1

    unit: str
    seed: int
    store: Path
    previous_store: Path | None
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    patch_size: tuple[int, ...]
    forced: tuple[bool, ...]
    augmentation: AugmentationSpec
    training_steps: int
    validation_steps: int

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch, training and validation."""
        return self.training_steps + self.validation_steps

    @property
    def is_flat(self) -> bool:
        """Whether patches are planes."""
        return len(self.patch_size) == 2

    @property
    def patch_vox(self) -> tuple[int, ...]:
        """Patch as (z, y, x): a plane is one slice."""
        return (1, *self.patch_size) if self.is_flat else self.patch_size

    @property
    def slice_axis(self) -> int | None:
        """Axis of `patch_vox` along which all slices are moved alike; None moves in 3D."""
        return 0 if self.is_flat else self.augmentation.slice_axis


def sampling_plan(job: TrainingJob) -> SamplingPlan:
    """Take from a job what its batches depend on."""
    recipe, configuration = job.schedule, job.configuration
    return SamplingPlan(
        unit=job.unit,
        seed=job.seed,
        store=job.store,
        previous_store=job.previous_store,
        training_cases=job.training_cases,
        validation_cases=job.validation_cases,
        patch_size=configuration.patch_size,
        forced=forced_samples(configuration.batch_size, recipe.forced_samples),
        augmentation=augmentation_spec(configuration, job.plan),
        training_steps=recipe.iterations_per_epoch,
        validation_steps=recipe.validation_iterations,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What drawing needs to know of a case: its shape (z, y, x), voxels of each class, and rows of label, z, y, x."""

    shape_vox: tuple[int, ...]
    class_voxels: tuple[int, ...]
    voxels: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sample of a batch is drawn from: its number, its step in its stream, and the kind of batch."""

    sample: int
    step: int
    training: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """One drawn sample: first voxel (z, y, x) of its patch in the case, and what is done to it (axes of z, y, x)."""

    case: str
    start: tuple[int, ...]
    augmentation: SampleAugmentation


def places(plan: SamplingPlan, index: int) -> tuple[Place, ...]:
    """Return the samples of batch ``index`` of a unit: in each epoch first training, then validation batches."""
    epoch, place = divmod(index, plan.steps_per_epoch)
    training = place < plan.training_steps
    steps, within = (plan.training_steps, place) if training else (plan.validation_steps, place - plan.training_steps)
    step = epoch * steps + within
    return tuple(Place(sample=sample, step=step, training=training) for sample in range(len(plan.forced)))


def drawn_case(plan: SamplingPlan, place: Place) -> tuple[str, np.random.Generator]:
    """Draw a sample's case; the generator goes on with the rest of the sample."""
    cases = plan.training_cases if place.training else plan.validation_cases
    unit = plan.unit if place.training else f"{plan.unit}/validation"
    rng = generator(plan.seed, unit, place.step, place.sample)
    return cases[choose_case(rng, len(cases))], rng


def drawn_cases(plan: SamplingPlan, index: int) -> tuple[str, ...]:
    """Return the cases of batch ``index``, each once, in the order of its samples."""
    return tuple(dict.fromkeys(drawn_case(plan, place)[0] for place in places(plan, index)))


@dataclass(frozen=True, slots=True)
class Draws:
    """The samples of a unit.

    Attributes:
        plan: of the unit.
        facts: tells what is needed of a case.
    """

    plan: SamplingPlan
    facts: Callable[[str], CaseFacts]

    def case(self, place: Place) -> tuple[str, np.random.Generator]:
        """Draw a sample's case; the generator goes on with the rest of the sample."""
        return drawn_case(self.plan, place)

    def sample(self, place: Place, case: str, rng: np.random.Generator) -> Draw:
        """Draw the rest: a place in the case, then (in training) an augmentation."""
        plan, facts = self.plan, self.facts(case)
        centre = _foreground_voxel(rng, facts) if plan.forced[place.sample] else None
        start = choose_patch_start(rng, shape_vox=facts.shape_vox, patch_vox=plan.patch_vox, centre_vox=centre)
        spec = plan.augmentation
        augmentation = draw_augmentation(rng, spec=spec) if place.training else unchanged(spec)
        if plan.is_flat:
            augmentation = replace(augmentation, mirror_axes=tuple(axis + 1 for axis in augmentation.mirror_axes))
        return Draw(case=case, start=tuple(start), augmentation=augmentation)


@contextmanager
def sampled(place: Place, case: str) -> Iterator[None]:
    """Name case, sample and step in an error that is not one of ours.

    Raises:
        TrainingError: the sample could not be made.
    """
    try:
        yield
    except (NnboxError, MemoryError):
        raise
    except Exception as error:
        message = f"case {case}: sample {place.sample} of step {place.step} could not be made ({error!r})"
        raise TrainingError(message) from error


def unchanged(spec: AugmentationSpec) -> SampleAugmentation:
    """Return the augmentation that leaves a sample as it is."""
    gammas = (None,) * spec.channels
    return SampleAugmentation(elastic=None, angles_rad=None, scale=None, gammas=gammas, mirror_axes=())


def _foreground_voxel(rng: np.random.Generator, facts: CaseFacts) -> tuple[int, ...] | None:
    label = choose_forced_class(rng, facts.class_voxels)
    if label is None:
        return None
    column = facts.voxels[:, 0]
    # Of the column's own type: for another one numpy would first convert the column, all of it.
    first, last = np.searchsorted(column, np.array((label, label + 1), dtype=column.dtype)).tolist()
    row = facts.voxels[first + int(rng.integers(last - first))]
    return tuple(row[1:].tolist())
