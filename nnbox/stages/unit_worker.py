"""The process that trains one network for a run: ``python -m nnbox.stages.unit_worker``, an order on standard input.

It tells its news in lines on standard output; files are its result. It ends when its parent ends, and saves where it
stands when told to (SIGTERM). The claim on the network is its parent's; it inherits the locked file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time

from nnbox.errors import NnboxError, ResourceError, Severity
from nnbox.interruption import INTERRUPTED, listen_for_signals
from nnbox.limits import memory_ran_out
from nnbox.network.device import peak_card_bytes
from nnbox.processes import end_with
from nnbox.records.codec import parse_record, read_record
from nnbox.records.dataset import Dataset, InputDigests
from nnbox.records.engine import Engine
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Folds, Plan
from nnbox.stages.context import Context, TakenIn, open_context
from nnbox.stages.job import Job
from nnbox.stages.journal import Journal
from nnbox.stages.order import Alive, Failed, Measured, News, Refused, Said, TrainingOrder, news_line
from nnbox.stages.overseer import Overseer
from nnbox.stages.training import tell_epoch, tell_setback, train_unit
from nnbox.stages.wanted import recipe_of
from nnbox.stages.workspace import Workspace
from nnbox.supervision import patience_seconds
from nnbox.training.loader import WorkerPool
from nnbox.training.progress import EpochRecord, Report, Setback, StepTiming

_SIGN_SECONDS = 5.0
_SIGNS_IN_TIME = 10


_speaking = threading.Lock()


def _tell(news: News) -> None:
    with _speaking, contextlib.suppress(BrokenPipeError):  # whoever listened is gone, and so is this process soon
        sys.stdout.write(news_line(news))
        sys.stdout.flush()


def _hear(severity: Severity | None, sentence: str) -> None:
    _tell(Said(severity=severity, sentence=sentence))


class _Signs:
    """Signs of life, given as the work goes on; not more often than is needed. For any thread."""

    def __init__(self) -> None:
        self._every_seconds = min(_SIGN_SECONDS, patience_seconds() / _SIGNS_IN_TIME)
        self._next = time.monotonic()

    def give(self) -> None:
        """Tell that the work goes on, unless that was just told."""
        if (now := time.monotonic()) >= self._next:
            self._next = now + self._every_seconds
            _tell(Alive())


def carry_out(order: TrainingOrder) -> None:
    """Train and validate the network of an order.

    Raises:
        NnboxError: see `nnbox.stages.training.train_units`.
    """
    workspace = Workspace(order.output)
    journal = Journal(workspace.log, _hear, order.steps_told, order.run, order.options.asked_at)
    context = open_context(order.root, workspace, journal, order.workers)
    job = _job(context, order)
    signs = _Signs()

    def report(news: Report) -> None:
        signs.give()
        if isinstance(news, Engine):
            _tell(news)
        elif isinstance(news, StepTiming):
            _tell(Measured(seconds_per_step=news.seconds_per_step, peak_bytes=peak_card_bytes(order.device)))
        elif isinstance(news, Setback):
            tell_setback(context, news)
        elif isinstance(news, EpochRecord):
            tell_epoch(context, job, news)

    with WorkerPool(order.workers, lambda sentence: journal.warn("worker_lost", sentence)) as pool:
        # The claim is the parent's, who ends this process when it is lost.
        overseer = Overseer(report=report, may_write=signs.give, see=signs.give)
        train_unit(context, job, (order.configuration, order.fold), overseer, pool)


def _job(context: Context, order: TrainingOrder) -> Job:
    workspace = context.workspace
    taken = TakenIn(
        dataset=read_record(workspace.dataset, Dataset), digests=read_record(workspace.input_digests, InputDigests)
    )
    return Job(
        taken=taken,
        fingerprint=read_record(workspace.fingerprint, Fingerprint),
        plan=read_record(workspace.plan, Plan),
        folds=read_record(workspace.folds, Folds),
        recipe=recipe_of(order.options),
        options=order.options,
        device=order.device,
        configurations=order.configurations,
        at_once=order.at_once,
    )


def main() -> int:
    """Carry out the order on standard input; return an exit code of `nnbox.errors`."""
    listen_for_signals()
    try:
        order = parse_record(json.loads(sys.stdin.read()), TrainingOrder, where="the order")
        end_with(order.parent)
        if os.getppid() != order.parent:  # it ended before it was watched
            return INTERRUPTED
        carry_out(order)
    except NnboxError as error:
        _tell(Failed(exit_code=error.exit_code, message=str(error)))
        return error.exit_code
    except OSError as error:
        if error.errno is None:
            raise
        file = None if error.filename is None else str(error.filename)
        _tell(Refused(number=error.errno, reason=error.strerror or "", file=file))
        return ResourceError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if (starved := memory_ran_out(error)) is None:
            raise
        _tell(Failed(exit_code=starved.exit_code, message=str(starved)))
        return starved.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
