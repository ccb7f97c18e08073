"""A long loop over small pieces, cut into one stretch a thread; torch's own threads would have to meet at every piece.

A piece that fits the cache takes some ten microseconds. Two threads that share it wait for each other thousands of
times in a pass, and where the cores have other work as well each wait may last until the system's next turn: with 105
classes a pass took 26 s that way, and 2 s by one thread. Source: own.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch

Stretch = Callable[[range], None]


def in_stretches(work: Stretch, count: int) -> None:
    """Do ``work`` for ``range(count)``, cut into as many stretches as this thread may use; each by one thread.

    Stretches must not depend on each other; nothing they compute keeps its graph.

    Args:
        work: takes the numbers of its pieces.
        count: of pieces.
    """
    usual, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def alone(numbers: range) -> None:
        with torch.inference_mode() if inference else torch.no_grad():  # each thread has switches of its own
            work(numbers)

    if usual <= 1:
        alone(range(count))
        return
    threads = min(usual, count)  # even one of its own: with more, a matrix product may give other bits
    stretches = [range(count * index // threads, count * (index + 1) // threads) for index in range(threads)]
    for _ in _pool(usual).map(alone, stretches):
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that stay: what the allocator keeps for each thread is kept once, and not for every new one."""
    pool, usual = ThreadPoolExecutor(threads, "nnbox-stretch"), torch.get_num_threads()
    together = Barrier(threads)

    def begin(_: int) -> None:
        torch.get_num_threads()  # torch's first look in a thread sets its number; it must not come after the next line
        torch.set_num_threads(1)
        together.wait()  # so that each thread begins once

    list(pool.map(begin, range(threads)))
    torch.set_num_threads(usual)  # the number that later threads begin with
    return pool
