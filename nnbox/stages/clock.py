"""Which stage a run is in, how long each took and what it used: two events per stage in the log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from nnbox.errors import NnboxError
from nnbox.limits import memory_ran_out
from nnbox.network.device import Device, forget_card_peak, peak_card_bytes
from nnbox.stages.context import Context
from nnbox.stages.journal import Journal
from nnbox.stages.standing import FAILED, INTERRUPTED
from nnbox.stages.usage import usage_so_far


class Stage(StrEnum):
    """The parts of a run, in order."""

    INTAKE = "intake"
    PLAN = "plan"
    PREPROCESS = "preprocess"
    TRAIN = "train"
    SELECT = "select"
    PACKAGE = "package"
    PREDICT = "predict"


BEGINS, ENDS = "stage_begins", "stage_ends"


@contextlib.contextmanager
def stage(context: Context, name: Stage, device: Device) -> Iterator[None]:
    """Record that a stage begins, and when it ends how long it took and what it used; its errors pass through."""
    journal = context.journal
    forget_card_peak(device)
    before, started = usage_so_far(), time.monotonic()
    journal.note(BEGINS, f"{name} begins", {"stage": name.value})
    complete = False
    try:
        yield
        complete = True
    finally:
        seconds, after = time.monotonic() - started, usage_so_far()
        facts: dict[str, Any] = {
            "stage": name.value,
            "complete": complete,
            "seconds": round(seconds, 3),
            "cpu_seconds": round(after.cpu_seconds - before.cpu_seconds, 3),
            "peak_memory_bytes": after.peak_memory_bytes,
            "peak_worker_bytes": after.peak_worker_bytes,
            "peak_card_bytes": peak_card_bytes(device),
        }
        journal.note(ENDS, f"{name} {'took' if complete else 'was left after'} {seconds:.1f} s", facts)
    context.refresher.refresh(stage_ended=True)


@contextlib.contextmanager
def ending_recorded(journal: Journal) -> Iterator[None]:
    """Record how a run ended that did not come to its end; the exception passes through.

    Raises:
        ResourceError: instead of the exception, where it says that memory ran out.
    """
    try:
        yield
    except NnboxError as error:
        journal.note(FAILED, str(error), {"exit_code": error.exit_code})
        raise
    except (KeyboardInterrupt, SystemExit):
        journal.note(INTERRUPTED, "interrupted; the same command continues")
        raise
    except Exception as error:
        if (starved := memory_ran_out(error)) is not None:
            journal.note(FAILED, str(starved), {"exit_code": starved.exit_code})
            raise starved from error
        journal.note(FAILED, f"{type(error).__name__}: {error}")
        raise
