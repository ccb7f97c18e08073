"""The rich door: what is shown in a terminal, and the same as plain lines without one.

News goes to standard output, warnings and errors to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nnbox.errors import Severity


def say(sentence: str) -> None:
    """Print a line of news."""
    _out().print(Text(sentence), soft_wrap=True)


def complain(severity: Severity | None, sentence: str) -> None:
    """Print a warning or an error to standard error."""
    word = "warning" if severity is Severity.WARNING else "error"
    style = "yellow" if severity is Severity.WARNING else "bold red"
    text = Text(f"{word}: ", style=style)
    text.append(Text(sentence, style="default"))
    _err().print(text, soft_wrap=True)


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
        table.add_row(*(Text(cell) for cell in row))
    console = _out()
    if not console.is_terminal:
        # Without a terminal a table must not be folded to an arbitrary width.
        console.width = max(console.width, 160)
    console.print(table)


def print_raw(text: str) -> None:
    """Print text as it is (JSON, paragraphs)."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def _out() -> Console:
    return Console(file=sys.stdout, highlight=False, markup=False)


def _err() -> Console:
    return Console(file=sys.stderr, highlight=False, markup=False)
