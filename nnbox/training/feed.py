"""Batches where the training wants them: made by workers and carried there, or drawn here and augmented there.

Both feeds draw the same records from the same random streams; only who interpolates differs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from nnbox.records.engine import AugmentationPath, Engine
from nnbox.training.ahead import Ahead
from nnbox.training.augment import augment_packed
from nnbox.training.draw import Draws, SamplingPlan, places, sampled
from nnbox.training.job import TrainingJob
from nnbox.training.loader import WorkerPool
from nnbox.training.pack import Placed, pack
from nnbox.training.residence import Cases, label_type
from nnbox.training.sample import Batch

BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBatch:
    """A batch on the training's device: float32 image (sample, channel, *patch), integer labels (sample, *patch)."""

    image: Tensor
    labels: Tensor


Feed = Generator[DeviceBatch] | Ahead[DeviceBatch]


def open_feed(job: TrainingJob, engine: Engine, pool: WorkerPool, plan: SamplingPlan, span: tuple[int, int]) -> Feed:
    """Return the batches span[0]..span[1]-1 of a unit in order; close it to leave it early.

    On a GPU a thread with a CUDA stream of its own is `BATCHES_AHEAD` batches ahead, so that neither host nor device
    waits; on a CPU the training's own thread makes them. Errors are those of `WorkerPool.batches`.
    """
    device = torch.device(job.device)
    if engine.augmentation is AugmentationPath.CPU:
        source = host_batches(pool, plan, span, device)
    else:
        kind = label_type(label.value for label in job.plan.labels)
        cases = Cases(plan, engine.residence, device, kind)
        source = device_batches(plan, cases, device, kind, span, kernels=engine.kernels)
    return Ahead(source, device, BATCHES_AHEAD) if device.type == "cuda" else source


def host_batches(
    pool: WorkerPool, plan: SamplingPlan, span: tuple[int, int], device: torch.device
) -> Generator[DeviceBatch]:
    """Yield batches of the pool's workers, augmented by batchgenerators, on the device."""
    with closing(pool.batches(plan, *span)) as batches:  # type: ignore[type-var]
        for batch in batches:
            yield carried(batch, device)


def carried(batch: Batch, device: torch.device) -> DeviceBatch:
    """Bring a batch to the device."""
    image, labels = torch.from_numpy(batch.image), torch.from_numpy(batch.labels)
    if device.type == "cuda":
        image, labels = image.pin_memory(), labels.pin_memory()
    return DeviceBatch(image=image.to(device, non_blocking=True), labels=labels.to(device, non_blocking=True))


def device_batches(
    plan: SamplingPlan,
    cases: Cases,
    device: torch.device,
    labels: torch.dtype,
    span: tuple[int, int],
    *,
    kernels: bool = False,
) -> Generator[DeviceBatch]:
    """Yield batches that are drawn here, gathered where the cases lie, and augmented on the device.

    See `nnbox.training.augment.augment_packed` for ``kernels``.
    """
    draws = Draws(plan, cases.facts)
    cases.load()
    for index in range(*span):
        samples = []
        for place in places(plan, index):
            case, rng = draws.case(place)
            with sampled(place, case):
                draw = draws.sample(place, case, rng)
                samples.append(
                    Placed(
                        case=cases.voxels(case),
                        start=draw.start,
                        shape=plan.patch_vox,
                        slice_axis=plan.slice_axis,
                        augmentation=draw.augmentation,
                    )
                )
                last = (place, case)
        with sampled(*last):
            packed = pack(samples, label_type=labels, pinned=device.type == "cuda")
            image, found = augment_packed(packed.to(device), plan.augmentation.previous_labels, kernels=kernels)
        if plan.is_flat:
            image, found = image.squeeze(2), found.squeeze(1)
        yield DeviceBatch(image=image, labels=found)
