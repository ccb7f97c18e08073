"""How much of a time budget is used, over all starts of the command, and when the run is to end.

The log tells what earlier starts took. A start that was killed counts up to its last event, which is an epoch old at
most. Starts that had no budget do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nnbox.layouts.detect import find_tasks
from nnbox.records.events import Event, read_events
from nnbox.stages.context import Context
from nnbox.stages.options import TrainOptions
from nnbox.stages.workspace import Workspace

START = "start"
_OPTION = "time_budget_seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetClock:
    """The share of a time budget that one task has.

    Attributes:
        budget_seconds: of the whole run, as asked.
        used_before_seconds: when the clock was opened.
        end: of this task, on the clock ``now``.
        now: a clock in seconds that only goes forward.
        opened: when the clock was opened, on ``now``.
    """

    budget_seconds: float
    used_before_seconds: float
    end: float
    opened: float
    now: Callable[[], float]

    @property
    def used_seconds(self) -> float:
        """Seconds of the whole budget that are used."""
        return self.used_before_seconds + self.now() - self.opened

    @property
    def left_seconds(self) -> float:
        """Seconds until this task is to end; negative when it is late."""
        return self.end - self.now()

    def end_of_day(self) -> str:
        """Return when this task is to end as local time, ISO 8601."""
        end = datetime.now().astimezone() + timedelta(seconds=self.left_seconds)
        return end.isoformat(timespec="seconds")


def open_clock(context: Context, options: TrainOptions, now: Callable[[], float] = time.monotonic) -> BudgetClock:
    """Open the clock of a task: it shares what is left of the budget with the tasks that come after it.

    Args:
        context: of the task.
        options: with a time budget.
        now: the clock; that of ``options.asked_at``.

    Raises:
        ValueError: no time budget.
    """
    if options.time_budget_seconds is None:
        raise ValueError("a clock needs a time budget")
    opened = now()
    roots = find_tasks(options.input)
    place = [root.resolve() for root in roots].index(context.root.resolve()) if len(roots) > 1 else 0
    folder = context.workspace.root
    folders = [folder.parent / root.name for root in roots] if len(roots) > 1 else [folder]
    logs = [read_events(Workspace(item).log) for item in folders]
    running = _running_seconds(context, options, opened)
    asked = (datetime.now().astimezone() - timedelta(seconds=running)).replace(microsecond=0)
    used = sum(seconds_before(log, asked) for log in logs) + running
    share = (options.time_budget_seconds - used) / (len(roots) - place)
    return BudgetClock(
        budget_seconds=options.time_budget_seconds,
        used_before_seconds=used,
        end=opened + share,
        opened=opened,
        now=now,
    )


def _running_seconds(context: Context, options: TrainOptions, opened: float) -> float:
    """Return how long this start of the command runs: since it was asked for, else since its log began."""
    if options.asked_at is not None:
        return opened - options.asked_at
    starts = [event.time for event in read_events(context.workspace.log) if event.event == START]
    return max(0.0, (datetime.now().astimezone() - starts[-1]).total_seconds()) if starts else 0.0


def seconds_before(events: Sequence[Event], moment: datetime) -> float:
    """Return how long starts with a time budget ran before a moment, by their first and last events."""
    total, first, last = 0.0, None, None
    for event in events:
        if event.time >= moment:
            break
        if event.event == START:
            total += _between(first, last)
            budgeted = (event.facts.get("options") or {}).get(_OPTION) is not None
            first = event.time if budgeted else None
        last = event.time
    return total + _between(first, last)


def _between(first: datetime | None, last: datetime | None) -> float:
    return 0.0 if first is None or last is None else max(0.0, (last - first).total_seconds())
