"""How much of a time budget is used, over all starts of the command, and when the run is to end.

The log tells what earlier starts took, on a clock that never jumps: the time of day may be set while a run works. A
start that was killed counts up to its last event, which is an epoch old at most. Starts without a budget do not count.
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
    running = 0.0 if options.asked_at is None else opened - options.asked_at
    used = seconds_of_others([read_events(Workspace(item).log) for item in folders], context.journal.run) + running
    share = (options.time_budget_seconds - used) / (len(roots) - place)
    return BudgetClock(
        budget_seconds=options.time_budget_seconds,
        used_before_seconds=used,
        end=opened + share,
        opened=opened,
        now=now,
    )


def seconds_of_others(logs: Sequence[Sequence[Event]], own: str | None) -> float:
    """Return how long other runs with a time budget went on, each to its last event.

    No time of day is looked at: every event says how long its run went on by then, and their order is that of the log.
    Runs that are at work at the same time count once.

    Args:
        logs: of the tasks, in the order in which a run does them.
        own: the run that does not count.
    """
    reached: dict[str, float] = {}
    return sum(_length(log, own, reached) for log in logs)


def _length(events: Sequence[Event], own: str | None, reached: dict[str, float]) -> float:
    """Return what a log adds, and note how far each of its runs came."""
    counted: set[str] = set()
    places: dict[str, float] = {}
    length = 0.0
    for event in events:
        run, after = event.run, event.after_seconds
        if run is None or run == own or after is None:
            continue
        if event.event == START and (event.facts.get("options") or {}).get(_OPTION) is not None:
            counted.add(run)
        if run in counted:
            places[run] = places.get(run, length) + max(0.0, after - reached.get(run, 0.0))
            reached[run] = max(after, reached.get(run, 0.0))
            length = max(length, places[run])
    return length
