"""Torch's switches for the time of one training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from nnbox.errors import ResourceError
from nnbox.records.precision import Precision
from nnbox.training.engine import settled
from nnbox.training.job import TrainingJob


@contextmanager
def arithmetic(job: TrainingJob) -> Iterator[None]:
    """Set torch's switches for this job, and set them back: quick kernels on a GPU, or reproducible ones.

    Raises:
        ResourceError: the device's memory does not suffice.
    """
    before = torch.get_deterministic_debug_mode()
    device = torch.device(job.device)
    on_gpu = device.type == "cuda"
    if on_gpu and job.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to repeat itself
    # Unlike use_deterministic_algorithms this knows "warn" as well, which has to be put back, and no compiler.
    torch.set_deterministic_debug_mode("error" if job.deterministic else "default")
    exact = settled(job.engine, job.device).precision is Precision.FLOAT32  # then float32 means float32, not TF32
    try:
        with (
            torch.cuda.device(device) if on_gpu else nullcontext(),  # Triton launches on the current one
            torch.backends.cudnn.flags(
                enabled=True, benchmark=not job.deterministic, deterministic=job.deterministic, allow_tf32=not exact
            ),
        ):
            yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"{job.configuration.name} fold {job.fold}: the memory of {job.device} does not suffice for patches of "
            f"{job.configuration.patch_size} in batches of {job.configuration.batch_size} ({error}). What to do: "
            "free the card of other work, or plan for less with --planning-memory and another --output."
        ) from None
    finally:
        torch.set_deterministic_debug_mode(before)
