"""The rich door: what is shown in a terminal, and the same as plain lines without one.

News goes to standard output, warnings and errors to standard error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nnbox.errors import Problem, Severity

if TYPE_CHECKING:  # every verb imports this module; most show no status
    from nnbox.stages.status import Status, UnitStatus

_MOST_PLACES = 5
_COMMANDS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
_STATES = {"running": "bold green", "finished": "bold green", "failed": "bold red", "unfinished": "bold yellow"}
_CELLS = {"waiting": "dim", "training": "bold cyan", "done": "green"}


def _plain(text: str) -> str:
    """Return text without what a terminal would obey: names from files and bundles may hold its commands."""
    return text.translate(_COMMANDS)


def say(sentence: str) -> None:
    """Print a line of news."""
    _out().print(Text(_plain(sentence)), soft_wrap=True)


def complain(severity: Severity | None, sentence: str) -> None:
    """Print a warning or an error to standard error."""
    word = "warning" if severity is Severity.WARNING else "error"
    style = "yellow" if severity is Severity.WARNING else "bold red"
    text = Text(f"{word}: ", style=style)
    text.append(Text(_plain(sentence), style="default"))
    _err().print(text, soft_wrap=True)


def show_problems(problems: Sequence[Problem]) -> None:
    """Show what is wrong with a data set: as a table in a terminal, as lines otherwise; equal ones once."""
    groups: dict[Problem, list[str]] = {}
    for problem in problems:
        # The same defect of many cases is one thing to do.
        groups.setdefault(replace(problem, case=None, file=None), []).append(problem.case or problem.file or "")
    if not problems or not sys.stderr.isatty():
        for problem in problems:
            complain(problem.severity, problem.sentence())
        return
    table = Table(title="problems", title_justify="left", title_style="bold", header_style="bold", show_edge=False)
    for column in ("", "where", "what", "what to do"):
        table.add_column(column, overflow="fold")
    for problem, where in groups.items():
        style = "yellow" if problem.severity is Severity.WARNING else "bold red"
        places = [place for place in where if place]
        rest = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
        shown = f"{', '.join(places[:_MOST_PLACES])}{rest}"
        what = f"{problem.what}; expected {problem.expected}"
        table.add_row(Text(problem.severity.value, style=style), Text(shown), Text(what), Text(problem.remedy))
    _err().print(table)


def listen(severity: Severity | None, sentence: str) -> None:
    """Show a journal's event where it belongs."""
    if severity is None:
        say(sentence)
    else:
        complain(severity, sentence)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True) -> None:
    """Print a table; numbers (every column but the first) are set to the right."""
    table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold", show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or not numbers else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    console = _out()
    if not console.is_terminal:
        # Without a terminal a table must not be folded to an arbitrary width.
        console.width = max(console.width, 160)
    console.print(table)


def print_raw(text: str) -> None:
    """Print text as it is (JSON, paragraphs)."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def is_terminal() -> bool:
    """Whether a person watches who can be shown a picture that changes."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def show_status(statuses: Sequence[Status]) -> None:
    """Print where runs are."""
    for status in statuses:
        _out().print(_picture(status))


@contextlib.contextmanager
def live_status(read: Callable[[], Sequence[Status]]) -> Iterator[None]:
    """Show where runs are during the block, once a second, below the news; without a terminal show nothing."""
    if not is_terminal():
        yield
        return

    def picture() -> Group:
        # Between two tasks, and before the first, there is nothing to show.
        return Group(*(_picture(status) for status in read() if status.state == "running"))

    with Live(console=_out(), get_renderable=picture, refresh_per_second=1, transient=True):
        yield


def _picture(status: Status) -> Group:
    lines = [Text.assemble((status.task, "bold"), "  ", (status.state, _STATES.get(status.state, "")), _stage(status))]
    if status.remark:
        lines.append(Text(status.remark.splitlines()[0]))
    parts: list[Text | Table] = [*lines]
    if status.units:
        parts.append(_grid(status))
    if (current := next((unit for unit in status.units if unit.state == "training"), None)) is not None:
        parts.append(_current(current))
    parts.append(_remaining(status))
    if status.sentence:
        parts.append(Text(f"last: {status.sentence.splitlines()[0]}", style="dim"))
    return Group(*parts)


def _stage(status: Status) -> str:
    counted = f" ({status.done} of {status.total} cases)" if status.total is not None else ""
    return f", stage {status.stage}{counted}" if status.stage else ""


def _grid(status: Status) -> Table:
    """Return configurations by folds, each with its epochs."""
    folds = sorted({unit.fold for unit in status.units})
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("epochs")
    for fold in folds:
        table.add_column(f"fold {fold}", justify="right")
    by_place = {(unit.configuration, unit.fold): unit for unit in status.units}
    for name in dict.fromkeys(unit.configuration for unit in status.units):
        cells = (_cell(by_place.get((name, fold)), status.maximum_epochs) for fold in folds)
        table.add_row(name, *cells)
    return table


def _cell(unit: UnitStatus | None, maximum_epochs: int | None) -> Text:
    if unit is None:
        return Text("")
    words = {
        "waiting": f"{unit.epoch}" if unit.epoch else "-",
        "training": f"{unit.epoch}/{maximum_epochs}",
        "done": f"{unit.epoch or ''} done".strip(),
    }
    return Text(words[unit.state.value], style=_CELLS[unit.state.value])


def _current(unit: UnitStatus) -> Text:
    if unit.training_loss is None or unit.validation_loss is None:
        return Text(f"{unit.configuration} fold {unit.fold}: first epoch")
    dice = ", ".join("-" if value is None else f"{value:.3f}" for value in unit.dice)
    return Text(
        f"{unit.configuration} fold {unit.fold}, epoch {unit.epoch}: loss {unit.training_loss:.4f}, validation "
        f"{unit.validation_loss:.4f}, Dice {dice}, {unit.seconds_per_epoch:.1f} s per epoch"
    )


def _remaining(status: Status) -> Text:
    from nnbox.report.numbers import duration  # noqa: PLC0415 - see above

    parts = []
    if status.remaining_seconds:
        end = datetime.now().astimezone() + timedelta(seconds=status.remaining_seconds)
        left = duration(status.remaining_seconds)
        parts.append(f"at most {left} to go, until {end:%a %d %b %H:%M}")
    if status.device is not None:
        parts.append(status.device)
    if status.card_bytes is not None and status.card_total_bytes is not None:
        parts.append(f"card memory {status.card_bytes / 1e9:.1f} of {status.card_total_bytes / 1e9:.1f} GB")
    if status.memory_bytes is not None:
        parts.append(f"memory {status.memory_bytes / 1e9:.1f} GB")
    if status.heard is not None and status.state != "running":
        parts.append(f"last heard of {status.heard}")
    return Text("; ".join(parts))


def _out() -> Console:
    return Console(file=sys.stdout, highlight=False, markup=False)


def _err() -> Console:
    return Console(file=sys.stderr, highlight=False, markup=False)
