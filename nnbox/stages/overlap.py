"""Three steps for many items, the first and the last in threads beside the one in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")
_Worked = TypeVar("_Worked")
_Written = TypeVar("_Written")


@dataclass(frozen=True, slots=True)
class Steps(Generic[_Item, _Read, _Worked, _Written]):
    """What is done with each item; a step gets what the one before it returned.

    Attributes:
        read: may run while an earlier item is worked on.
        work: runs in the caller's thread.
        write: may run while a later item is worked on.
    """

    read: Callable[[_Item], _Read]
    work: Callable[[_Read], _Worked]
    write: Callable[[_Worked], _Written]


def overlapped(
    steps: Steps[_Item, _Read, _Worked, _Written], items: Sequence[_Item], *, ahead: bool
) -> Iterator[_Written]:
    """Yield what the last step returns, in the order of the items.

    At most one item is read or waits to be worked on, and at most one is written or waits to be, whatever their number;
    without ``ahead`` one step is done at a time. An error of a step ends everything after the items before it.
    """
    if not ahead:
        for item in items:
            yield steps.write(steps.work(steps.read(item)))
        return
    with (
        ThreadPoolExecutor(1, thread_name_prefix="nnbox-read") as reader,
        ThreadPoolExecutor(1, thread_name_prefix="nnbox-write") as writer,
    ):
        reading = reader.submit(steps.read, items[0]) if items else None
        writing: Future[_Written] | None = None
        for following in [*items[1:], None]:
            if reading is None:
                return
            try:
                read, reading = reading.result(), None
                if following is not None:
                    reading = reader.submit(steps.read, following)
                worked = steps.work(read)
                del read
            except Exception:
                if writing is not None:  # the item before is whole
                    yield writing.result()
                raise
            if writing is not None:
                yield writing.result()
            writing = writer.submit(steps.write, worked)
            del worked
        if writing is not None:
            yield writing.result()
