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
from multiprocessing import forkserver
from typing import TypeVar

from nnbox.interruption import ignore_signals, whole
from nnbox.threads import keep_to_one_thread

_POLL_SECONDS = 1.0
_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def start_server(preload: Sequence[str]) -> None:
    """Start the server that forks all worker processes, unless it runs; return while it still imports.

    A worker begins with what the server has imported, so that importing is done once, and beside the caller's own.

    Args:
        preload: modules that workers need.
    """
    # "__main__" first: else every worker would run the command's script anew to find its functions.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", *preload])
    forkserver.ensure_running()


@contextlib.contextmanager
def process_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of so many workers for the time of the block; if it is left by an exception, they are killed."""
    context = multiprocessing.get_context("forkserver")
    others = {process.pid for process in multiprocessing.active_children()}
    pool = ProcessPoolExecutor(
        max_workers=count, mp_context=context, initializer=begin_as_worker, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            if process.pid not in others:
                process.kill()
        pool.shutdown(cancel_futures=True)  # its own thread sees that they are gone, and ends
        raise
    pool.shutdown()


def submit_all(
    pool: ProcessPoolExecutor, work: Callable[[_Task], _Result], tasks: Sequence[_Task]
) -> list[Future[_Result]]:
    """Submit every task, and so start the workers, whole: one that is half started would not be known to be killed."""
    with whole():
        return [pool.submit(work, task) for task in tasks]


def begin_as_worker(parent: int) -> None:
    """Leave signals to the parent process, compute with one thread, and end when the parent ends, however it ends.

    A pool's workers hold each other's pipes open, so that a closed pipe would not tell them.
    """
    ignore_signals()
    end_with(parent)
    keep_to_one_thread()


def end_with(parent: int) -> None:
    """Have this process end when its parent ends, however it ends."""
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
