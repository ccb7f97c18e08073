"""Making the batches of a training unit with batchgenerators, sample after sample. No torch in here."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnbox.training.draw import CaseFacts, Draws, SamplingPlan, places, sampled
from nnbox.training.patches import Arrays, one_hot
from nnbox.training.store import load_image, load_labels, load_prepared, load_previous, load_voxels

MOST_OPEN_CASES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch: float32 image (sample, channel, *patch) and int16 labels (sample, *patch), none below 0."""

    image: NDArray[np.float32]
    labels: NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCase:
    """A case with its arrays mapped, and what drawing needs to know of it."""

    arrays: Arrays
    facts: CaseFacts


def open_case(plan: SamplingPlan, name: str) -> OpenCase:
    """Map the arrays of a case.

    Raises:
        DataError: a file is missing or damaged, or a previous-stage prediction must not be used.
    """
    previous = None if plan.previous_store is None else load_previous(plan.previous_store, name)
    labels = load_labels(plan.store, name)
    facts = CaseFacts(
        shape_vox=labels.shape,
        class_voxels=load_prepared(plan.store, name).class_voxels,
        voxels=load_voxels(plan.store, name),
    )
    arrays = Arrays(image=load_image(plan.store, name), labels=labels, previous=previous)
    return OpenCase(arrays=arrays, facts=facts)


class Sampler:
    """Makes any batch of a unit, in any order."""

    def __init__(self, plan: SamplingPlan) -> None:
        self._plan = plan
        self._draws = Draws(plan, lambda name: self._case(name).facts)
        self._open: OrderedDict[str, OpenCase] = OrderedDict()

    def batch(self, index: int) -> Batch:
        """Make batch ``index`` of the unit: in each epoch first the training batches, then the validation batches.

        Raises:
            DataError: a prepared file is missing or damaged, or a previous-stage prediction must not be used.
            TrainingError: a sample could not be made; names the case.
        """
        from nnbox.training.apply import augment_patch  # noqa: PLC0415 - not where a device augments

        plan, images, labels = self._plan, [], []
        for place in places(plan, index):
            case, rng = self._draws.case(place)
            with sampled(place, case):
                draw = self._draws.sample(place, case, rng)
                patch = augment_patch(
                    self._case(case).arrays,
                    start=draw.start,
                    shape=plan.patch_vox,
                    augmentation=draw.augmentation,
                    slice_axis=plan.slice_axis,
                )
                patch = _first_slice(patch) if plan.is_flat else patch
            images.append(self._channels(patch))
            labels.append(patch.labels)
        return Batch(image=np.stack(images), labels=np.stack(labels))

    def _channels(self, patch: Arrays) -> NDArray[np.float32]:
        if patch.previous is None:
            return patch.image
        return np.concatenate((patch.image, one_hot(patch.previous, self._plan.augmentation.previous_labels)))

    def _case(self, name: str) -> OpenCase:
        """Open a case, keeping the last few open: each open array holds a file descriptor."""
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        opened = open_case(self._plan, name)
        self._open[name] = opened
        if len(self._open) > MOST_OPEN_CASES:
            self._open.popitem(last=False)
        return opened


def _first_slice(patch: Arrays) -> Arrays:
    previous = None if patch.previous is None else patch.previous[0]
    return Arrays(image=patch.image[:, 0], labels=patch.labels[0], previous=previous)
