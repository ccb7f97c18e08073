"""Our training step and our feed of batches, as a training has them, for scripts that time them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from torch import Tensor

from nnbox.records.engine import AugmentationPath
from nnbox.training.arithmetic import arithmetic
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.feed import DeviceBatch, open_feed
from nnbox.training.job import TrainingJob
from nnbox.training.learner import Learner
from nnbox.training.loader import WorkerPool
from nnbox.training.sample import Batch

RATE = 3e-4


class OurStep:
    """A learner; `take` is one step of its training, not waited for."""

    def __init__(self, job: TrainingJob) -> None:
        self.learner = Learner(job)

    def take(self, batch: DeviceBatch) -> None:
        """Take a step on a batch of a feed, or of `ready`, which travels to the device first."""
        device = self.learner.device
        there = DeviceBatch(
            image=batch.image.to(device, non_blocking=True), labels=batch.labels.to(device, non_blocking=True)
        )
        self.learner.judge(self.learner.gradients(there))
        self.learner.step(RATE)


def ready(batches: Sequence[Batch], device: str) -> list[DeviceBatch]:
    """Return batches in the host's memory, pinned where the device is a card, as the peer's loader gives them."""
    tensors = [(torch.from_numpy(batch.image), torch.from_numpy(batch.labels)) for batch in batches]
    if torch.device(device).type == "cuda":
        tensors = [(image.pin_memory(), labels.pin_memory()) for image, labels in tensors]
    return [DeviceBatch(image=image, labels=labels) for image, labels in tensors]


@contextmanager
def our_step(job: TrainingJob) -> Iterator[OurStep]:
    """Yield a step with torch's switches as a training sets them."""
    with arithmetic(job):
        yield OurStep(job)


def on_host(batch: DeviceBatch) -> tuple[Tensor, Tensor]:
    """Return a batch as float32 images and int16 labels on the host."""
    return batch.image.cpu().contiguous(), batch.labels.cpu().to(torch.int16)


@contextmanager
def feed(job: TrainingJob, count: int) -> Iterator[Iterator[DeviceBatch]]:
    """Yield the first batches of a unit as its training gets them, augmented; workers only where they augment."""
    plan, engine = sampling_plan(job), settle_engine(job)
    workers = job.workers if engine.augmentation is AugmentationPath.CPU else 0
    with WorkerPool(workers) as pool, closing(open_feed(job, engine, pool, plan, (0, count))) as batches:
        yield batches
