"""Pools of worker processes that leave signals to their parent, end at once when it must end, and never outlive it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from nnbox.interruption import ignore_signals, whole

_POLL_SECONDS = 1.0
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@contextlib.contextmanager
def process_pool(count: int, *, preload: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """Give a pool for the time of the block; when the block is left by an exception, its workers are killed.

    Args:
        count: worker processes.
        preload: modules that the server which forks them imports once.
    """
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload(list(preload))
    others = {process.pid for process in multiprocessing.active_children()}
    pool = ProcessPoolExecutor(
        max_workers=count, mp_context=context, initializer=begin_as_worker, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process.pid not in others:
                process.kill()
        raise
    pool.shutdown()


def submit_all(
    pool: ProcessPoolExecutor, work: Callable[[_Task], _Result], tasks: Sequence[_Task]
) -> list[Future[_Result]]:
    """Submit every task, and so start the workers, whole: one that is half started would not be known to be killed."""
    with whole():
        return [pool.submit(work, task) for task in tasks]


def begin_as_worker(parent: int) -> None:
    """Leave signals to the parent process and end when it ends, however it ends.

    A pool's workers hold each other's pipes open, so that a closed pipe would not tell them.
    """
    ignore_signals()
    threading.Thread(target=_end_with, args=(parent,), daemon=True, name="nnbox-parent-watch").start()


def _end_with(parent: int) -> None:
    try:
        descriptor = os.pidfd_open(parent)
        select.select([descriptor], [], [])
    except ProcessLookupError:
        pass
    except OSError:  # a system without such descriptors
        while _lives(parent):
            time.sleep(_POLL_SECONDS)
    os._exit(1)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
