"""Work on arrays of a few shapes, recorded as CUDA graphs and replayed: one launch instead of hundreds.

All recordings of one shape on a device, whoever made them, read one array and write another, and work in the same
memory: they run one after the other, and each result is copied away at once.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)
MOST_SHAPES = 2  # that one network is recorded with

Work = Callable[[Tensor], Tensor]


class Replayed:
    """Work that depends on nothing but its argument: done as it is the first time, recorded the second, then replayed.

    The first time libraries choose their kernels and make their buffers. Other shapes than the first few, and all of
    them where recording fails or the card is full, are worked on as they are. On a CPU nothing is recorded.

    Args:
        work: takes an array, returns a new one. It must not lead back to this object, which would keep both alive.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._graphs: dict[torch.Size, _Graph | _Shared] = {}
        self._works = True
        _all.add(self)

    def __call__(self, array: Tensor) -> Tensor:
        """Return what the work makes of an array, on the array's device."""
        if array.device.type != "cuda":
            return self._work(array)
        with torch.cuda.device(array.device):  # Triton launches on the current one, and graphs are recorded there
            return self._on_card(array)

    def let_go(self) -> None:
        """Forget every recording, with the memory that it works in, and record no more."""
        self._graphs.clear()
        self._works = False

    def _on_card(self, array: Tensor) -> Tensor:
        known = self._graphs.get(array.shape)
        if known is None:
            result = self._work(array)
            if self._works and len(self._graphs) < MOST_SHAPES:
                self._graphs[array.shape] = _shared(array, result)
            return result
        if isinstance(known, _Shared):
            try:
                known = self._graphs[array.shape] = _Graph(self._work, known)
            except RuntimeError as error:  # torch.OutOfMemoryError among them
                why = (str(error).splitlines() or [""])[0]
                _log.warning("a forward pass cannot be recorded as a CUDA graph (%s); it is launched anew", why)
                let_go()
                return self._work(array)
        return known(array)


_all: weakref.WeakSet[Replayed] = weakref.WeakSet()


def let_go() -> None:
    """Forget all recordings of this process: what a full card is asked next has to fit beside nothing of theirs."""
    for one in list(_all):
        one.let_go()


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Shared:
    """What the recordings of one shape on a device share.

    Attributes:
        array, result: what they read and write.
        pool: the memory that they work in.
        stream: that they are recorded on.
    """

    array: Tensor
    result: Tensor
    pool: Any = field(default_factory=torch.cuda.graph_pool_handle)
    stream: torch.cuda.Stream = field(default_factory=torch.cuda.Stream)


_kept: weakref.WeakValueDictionary[object, _Shared] = weakref.WeakValueDictionary()


def _shared(array: Tensor, result: Tensor) -> _Shared:
    key = (array.device, array.shape, array.dtype, result.shape, result.dtype)
    found = _kept.get(key)
    if found is None:
        found = _kept[key] = _Shared(torch.empty_like(array), torch.empty_like(result))
    return found


class _Graph:
    """A recording of some work."""

    def __init__(self, work: Work, shared: _Shared) -> None:
        self._shared = shared
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=shared.pool, stream=shared.stream, capture_error_mode="thread_local"):
            shared.result.copy_(work(shared.array))

    def __call__(self, array: Tensor) -> Tensor:
        self._shared.array.copy_(array)
        self._graph.replay()
        return self._shared.result.clone()
