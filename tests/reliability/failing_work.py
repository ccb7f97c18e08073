"""Work that fails in a worker process; in a module of its own, so that workers can import it."""

import os
import signal
import time
from pathlib import Path


def die_once(task):
    """Kill this process if nobody did so for this task before."""
    mark, number = task
    if number == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(task):
    if task == 2:
        time.sleep(0.6)  # its memory is looked at meanwhile
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def starve(task):
    if task == 2:
        raise MemoryError
    return task


def hang(task):
    if task == 2:
        time.sleep(600)
    return task
