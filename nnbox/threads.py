"""How many threads numeric libraries compute with: as many as the container allows CPUs, or one.

The last bits of a matrix product depend on the number of threads. What must not depend on who computes it (a worker
beside others, one that is alone, or the main process) is computed with one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
_settled: set[str] = set()


def settle_threads(cpus: int) -> None:
    """Keep numeric libraries that are imported later to ``cpus`` threads; what the user set is left alone.

    They look at the host: under a quota of 2 CPUs on 64 cores they would start 64 threads per process.
    """
    ours = thread_settings(os.environ, cpus)
    os.environ.update(ours)
    _settled.update(ours)


def shared_out(cpus: int, at_once: int) -> Mapping[str, str]:
    """Return the variables by which so many processes share the CPUs; what the user set is left alone."""
    of_the_user = {name: value for name, value in os.environ.items() if name not in _settled}
    return thread_settings(of_the_user, max(1, cpus // at_once))


def thread_settings(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the variables that keep numeric libraries to ``threads``, without those that are set."""
    return {name: str(threads) for name in _VARIABLES if name not in environment}


def one_thread() -> Callable[[], AbstractContextManager[object]]:
    """Return what makes blocks in which linear algebra computes with one thread; afterwards it has those it had before.

    Looking for the libraries takes milliseconds, a block microseconds. Those that are loaded later are not kept to
    anything: scipy's is loaded where a banded system is solved, which is too small to be shared out.
    """
    import numpy as np  # noqa: F401, PLC0415 - a library that is not loaded cannot be kept to anything
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - the command line needs none of this

    libraries = ThreadpoolController().select(user_api="blas")
    return lambda: libraries.limit(limits=1)


def keep_to_one_thread() -> None:
    """Let linear algebra compute with one thread for the rest of this process."""
    one_thread()()
