"""Work on arrays of a few shapes, recorded as CUDA graphs and replayed: one launch instead of hundreds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)
MOST_SHAPES = 2  # that one network is recorded with

Work = Callable[[Tensor], Tensor]


class Replayed:
    """Work that depends on nothing but its argument: done as it is the first time, recorded the second, then replayed.

    The first time libraries choose their kernels and make their buffers. Other shapes than the first few, and all of
    them where recording fails, are worked on as they are.

    Args:
        work: takes an array, returns a new one.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._graphs: dict[torch.Size, _Graph | None] = {}
        self._works = True

    def __call__(self, array: Tensor) -> Tensor:
        """Return what the work makes of an array."""
        if array.device.type != "cuda" or not self._works:
            return self._work(array)
        if array.shape not in self._graphs:
            if len(self._graphs) < MOST_SHAPES:
                self._graphs[array.shape] = None
            return self._work(array)
        graph = self._graphs[array.shape]
        if graph is None:
            try:
                graph = self._graphs[array.shape] = _Graph(self._work, array)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                why = (str(error).splitlines() or [""])[0]
                _log.warning("a forward pass cannot be recorded as a CUDA graph (%s); it is launched anew", why)
                self._works = False
                return self._work(array)
        return graph(array)


class _Graph:
    """A graph with the arrays it reads and writes."""

    def __init__(self, work: Work, array: Tensor) -> None:
        self._array = array.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=_pool(array.device), capture_error_mode="thread_local"):
            self._result = work(self._array)

    def __call__(self, array: Tensor) -> Tensor:
        self._array.copy_(array)
        self._graph.replay()
        return self._result.clone()


@cache
def _pool(_device: torch.device) -> Any:
    """Return the memory that all graphs of a device work in, one after the other: nothing stays there but results."""
    return torch.cuda.graph_pool_handle()
