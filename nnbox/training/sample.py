"""Drawing the batches of a training unit; each depends on (seed, unit, step, sample) alone. No torch in here."""

from __future__ import annotations

from collections import OrderedDict
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
from nnbox.training.apply import augment_patch
from nnbox.training.job import TrainingJob
from nnbox.training.patches import Arrays, one_hot
from nnbox.training.store import load_image, load_labels, load_prepared, load_previous, load_voxels

MOST_OPEN_CASES = 64


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch: float32 image (sample, channel, *patch) and int16 labels (sample, *patch), none below 0."""

    image: NDArray[np.float32]
    labels: NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenCase:
    arrays: Arrays
    class_voxels: tuple[int, ...]
    voxels: NDArray[np.int32]


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


class Sampler:
    """Makes any batch of a unit, in any order."""

    def __init__(self, plan: SamplingPlan) -> None:
        self._plan = plan
        self._open: OrderedDict[str, _OpenCase] = OrderedDict()

    def batch(self, index: int) -> Batch:
        """Make batch ``index`` of the unit: in each epoch first the training batches, then the validation batches.

        Raises:
            DataError: a prepared file is missing or damaged, or a previous-stage prediction must not be used.
            TrainingError: a sample could not be made; names the case.
        """
        plan = self._plan
        epoch, place = divmod(index, plan.steps_per_epoch)
        if place < plan.training_steps:
            return self._batch(epoch * plan.training_steps + place, training=True)
        return self._batch(epoch * plan.validation_steps + place - plan.training_steps, training=False)

    def _batch(self, step: int, *, training: bool) -> Batch:
        plan = self._plan
        cases = plan.training_cases if training else plan.validation_cases
        unit = plan.unit if training else f"{plan.unit}/validation"
        images, labels = [], []
        for sample, forced in enumerate(plan.forced):
            rng = generator(plan.seed, unit, step, sample)
            case = cases[choose_case(rng, len(cases))]
            try:
                patch = self._sample(rng, case, forced=forced, training=training)
            except (NnboxError, MemoryError):
                raise
            except Exception as error:
                message = f"case {case}: sample {sample} of step {step} could not be made ({error!r})"
                raise TrainingError(message) from error
            images.append(self._channels(patch))
            labels.append(patch.labels)
        return Batch(image=np.stack(images), labels=np.stack(labels))

    def _sample(self, rng: np.random.Generator, name: str, *, forced: bool, training: bool) -> Arrays:
        """Draw a patch of a case: a place, then (in training) an augmentation."""
        case = self._case(name)
        flat = len(self._plan.patch_size) == 2
        shape = (1, *self._plan.patch_size) if flat else self._plan.patch_size
        centre = self._foreground_voxel(rng, case) if forced else None
        start = choose_patch_start(rng, shape_vox=case.arrays.labels.shape, patch_vox=shape, centre_vox=centre)
        spec = self._plan.augmentation
        augmentation = draw_augmentation(rng, spec=spec) if training else unchanged(spec)
        slice_axis = spec.slice_axis
        if flat:
            axes = tuple(axis + 1 for axis in augmentation.mirror_axes)
            augmentation, slice_axis = replace(augmentation, mirror_axes=axes), 0
        patch = augment_patch(case.arrays, start=start, shape=shape, augmentation=augmentation, slice_axis=slice_axis)
        return _first_slice(patch) if flat else patch

    def _foreground_voxel(self, rng: np.random.Generator, case: _OpenCase) -> tuple[int, ...] | None:
        label = choose_forced_class(rng, case.class_voxels)
        if label is None:
            return None
        first, last = np.searchsorted(case.voxels[:, 0], (label, label + 1))
        row = case.voxels[first + int(rng.integers(last - first))]
        return tuple(int(place) for place in row[1:])

    def _channels(self, patch: Arrays) -> NDArray[np.float32]:
        if patch.previous is None:
            return patch.image
        return np.concatenate((patch.image, one_hot(patch.previous, self._plan.augmentation.previous_labels)))

    def _case(self, name: str) -> _OpenCase:
        """Open a case, keeping the last few open: each open array holds a file descriptor."""
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        plan = self._plan
        previous = None if plan.previous_store is None else load_previous(plan.previous_store, name)
        opened = _OpenCase(
            arrays=Arrays(image=load_image(plan.store, name), labels=load_labels(plan.store, name), previous=previous),
            class_voxels=load_prepared(plan.store, name).class_voxels,
            voxels=load_voxels(plan.store, name),
        )
        self._open[name] = opened
        if len(self._open) > MOST_OPEN_CASES:
            self._open.popitem(last=False)
        return opened


def unchanged(spec: AugmentationSpec) -> SampleAugmentation:
    """Return the augmentation that leaves a sample as it is."""
    gammas = (None,) * spec.channels
    return SampleAugmentation(elastic=None, angles_rad=None, scale=None, gammas=gammas, mirror_axes=())


def _first_slice(patch: Arrays) -> Arrays:
    previous = None if patch.previous is None else patch.previous[0]
    return Arrays(image=patch.image[:, 0], labels=patch.labels[0], previous=previous)
