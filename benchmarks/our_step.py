"""Our training step and our feed of batches, as a training has them, for scripts that time them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor

from nnbox.records.engine import AugmentationPath
from nnbox.training.arithmetic import arithmetic
from nnbox.training.draw import sampling_plan
from nnbox.training.engine import settle_engine
from nnbox.training.feed import open_feed
from nnbox.training.job import TrainingJob
from nnbox.training.learner import Learner
from nnbox.training.loader import WorkerPool

RATE = 3e-4


class OurStep:
    """A learner; `take` is one step of its training, not waited for."""

    def __init__(self, job: TrainingJob) -> None:
        self.learner = Learner(job)

    def take(self, batch: Any) -> None:
        self.learner.gradients(batch)
        self.learner.step(RATE)


@contextmanager
def our_step(job: TrainingJob) -> Iterator[OurStep]:
    """Yield a step with torch's switches as a training sets them."""
    with arithmetic(job):
        yield OurStep(job)


def on_host(batch: Any) -> tuple[Tensor, Tensor]:
    """Return a batch as float32 images and int16 labels on the host."""
    image, labels = (torch.as_tensor(array).cpu() for array in (batch.image, batch.labels))
    return image.contiguous(), labels.to(torch.int16)


@contextmanager
def feed(job: TrainingJob, count: int) -> Iterator[Iterator[Any]]:
    """Yield the first batches of a unit as its training gets them, augmented; workers only where they augment."""
    plan, engine = sampling_plan(job), settle_engine(job)
    workers = job.workers if engine.augmentation is AugmentationPath.CPU else 0
    with WorkerPool(workers) as pool, closing(open_feed(job, engine, pool, plan, (0, count))) as batches:
        yield batches
