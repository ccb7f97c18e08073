"""An iterator that a thread runs ahead of who reads it, on a CUDA stream of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import torch
from torch import Tensor

_Item = TypeVar("_Item")
_LOOK_SECONDS = 0.1  # how often a thread that waits for a free place looks whether it is still wanted


@dataclass(frozen=True, slots=True)
class _Made(Generic[_Item]):
    item: _Item
    ready: torch.cuda.Event | None


class _Ended:
    """The source has no more."""


class Ahead(Iterator[_Item]):
    """Yields what a generator yields, in its order; what it raises is raised here, where the item would have been.

    Close it to leave it early: the thread ends after the item it is making.

    Args:
        source: yields records of tensors; runs in the thread, and is closed by `close`.
        device: whose stream the reader uses; on a CPU nothing needs to wait for a stream.
        depth: so many items may wait.
    """

    def __init__(self, source: Generator[_Item], device: torch.device, depth: int) -> None:
        self._source, self._device = source, device
        self._waiting: queue.Queue[_Made[_Item] | BaseException | _Ended] = queue.Queue(maxsize=depth)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nnbox-feed", daemon=True)
        self._thread.start()

    def __next__(self) -> _Item:
        """Return the next item; the device's current stream waits for it, the host does not."""
        found = self._waiting.get()
        if isinstance(found, _Made):
            if found.ready is not None:
                _wait_on_stream(found.item, found.ready, self._device)
            return found.item
        self.close()
        if isinstance(found, BaseException):
            raise found
        raise StopIteration

    def close(self) -> None:
        """Let the thread end, and close the source."""
        self._unwanted.set()
        self._thread.join()
        self._source.close()

    def _work(self) -> None:
        try:
            with ExitStack() as stack:
                if self._device.type == "cuda":
                    stack.enter_context(torch.cuda.device(self._device))
                    stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
                    stack.enter_context(torch.cuda.stream(stream))
                for item in self._source:
                    if not self._give(_Made(item, self._recorded())):
                        return
            self._give(_Ended())
        except BaseException as error:
            self._give(error)

    def _recorded(self) -> torch.cuda.Event | None:
        if self._device.type != "cuda":
            return None
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _give(self, found: _Made[_Item] | BaseException | _Ended) -> bool:
        """Put something into the queue; False when nobody wants it any more."""
        while not self._unwanted.is_set():
            try:
                self._waiting.put(found, timeout=_LOOK_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def _wait_on_stream(item: object, ready: torch.cuda.Event, device: torch.device) -> None:
    """Let the current stream wait, and tell the allocator that it uses the tensors."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(ready)
    for field in fields(item):  # type: ignore[arg-type]
        value = getattr(item, field.name)
        if isinstance(value, Tensor):
            value.record_stream(stream)
