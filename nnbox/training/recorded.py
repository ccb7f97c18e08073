"""A training step recorded once as a CUDA graph, then replayed: one launch instead of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

_log = logging.getLogger(__name__)
WARM_UP_STEPS = 3  # before a graph is recorded, so that libraries have chosen their kernels and made their buffers

Step = Callable[[Tensor, Tensor], Tensor]


class Recorded:
    """A step on arrays that stay where they are: each batch is copied into them, then the step is replayed.

    On a device that has no graphs the step is called instead, on the same arrays: so the tests see that nothing but the
    batch and the weights flows into it.

    Args:
        step: takes image and labels, leaves gradients with the weights, returns the loss.
        image, labels: arrays of the batches' shapes, types and memory order; they are kept.
    """

    def __init__(self, step: Step, image: Tensor, labels: Tensor) -> None:
        self._image, self._labels = image, labels
        self._replay, self._loss = _record(step, image, labels)

    def __call__(self, image: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch; gradients are in place when the device's stream gets there."""
        self._image.copy_(image)
        self._labels.copy_(labels)
        self._replay()
        return self._loss.clone()


def recorded_or_none(step: Step, image: Tensor, labels: Tensor) -> Recorded | None:
    """Record a step; None where that fails, which is told and costs nothing but time.

    Raises:
        torch.OutOfMemoryError: the device's memory does not suffice for the step itself.
    """
    try:
        return Recorded(step, image, labels)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        why = (str(error).splitlines() or [""])[0]
        _log.warning("the training step cannot be recorded as a CUDA graph (%s); it is launched anew every time", why)
        return None


def _record(step: Step, image: Tensor, labels: Tensor) -> tuple[Callable[[], None], Tensor]:
    if image.device.type != "cuda":
        loss = step(image, labels).detach().clone()

        def again() -> None:
            loss.copy_(step(image, labels).detach())

        return again, loss
    aside = torch.cuda.Stream(image.device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(image.device))
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_STEPS):
            step(image, labels)
    torch.cuda.current_stream(image.device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # torch's own stream for this lies on the card of a process's first recording.
    with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
        loss = step(image, labels).detach()
    return graph.replay, loss
