"""The report at the end of a run, however it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from nnbox.errors import NnboxError
from nnbox.stages.context import Context
from nnbox.stages.run_files import read_run
from nnbox.stages.standing import standing


def expect_last_report() -> None:
    """Begin to import what draws figures, beside what the caller does next: the report will be due right after it.

    A process that must end before waits for it, a second at most: not to be ended in the middle of an import.
    """
    threading.Thread(target=_import_figures, name="nnbox-figures").start()


def _import_figures() -> None:
    with contextlib.suppress(Exception):  # what is wrong with it is told when the report is written
        import nnbox.stages.report  # noqa: F401, PLC0415 - it is slow to import


def write_last_report(context: Context) -> None:
    """Write the report at the end of a run; what goes wrong with it is a warning and never the run's failure."""
    context.refresher.finish()
    if not context.workspace.plan.exists():
        return
    started, journal = time.monotonic(), context.journal
    try:
        from nnbox.stages.report import write_report  # noqa: PLC0415 - figures are slow to import, and come last

        page = write_report(context.workspace, context.root)
    except Exception as error:
        journal.warn("report_failed", f"the report could not be written ({type(error).__name__}: {error})")
        return
    journal.say("report", f"report: {page}", {"seconds": round(time.monotonic() - started, 2)})


@contextlib.contextmanager
def failure_reported(context: Context) -> Iterator[None]:
    """Write the report of a run that fails in the block, once it has begun to work; the exception passes through."""
    try:
        yield
    except NnboxError:
        if _has_begun(context):
            write_last_report(context)
        raise
    finally:
        context.refresher.finish()


def _has_begun(context: Context) -> bool:
    """Whether the run began to work; what cannot be read to know that must not hide why the run failed."""
    try:
        return any(event.event == "units" for event in standing(read_run(context.workspace)).session)
    except (OSError, NnboxError) as error:
        context.journal.warn("report_failed", f"the report could not be written ({type(error).__name__}: {error})")
        return False
