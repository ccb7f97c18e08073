"""Writes docs/bad-input.md from the rows that the tests run: ``python tests/hostile/render.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from defect_row import Row
from defects import SECTIONS

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "bad-input.md"
_HEAD = """# Bad input

What is done about files that are damaged, odd or meant badly. This page is written from the rows that `tests/hostile`
runs (`make bad-input`), and a test fails where the two differ.

Each row starts `entrypoint.py` as a process of its own, held to 4 GiB of private memory (`RLIMIT_DATA`; a limit of the
address space would count what torch's libraries reserve and never touch) and to 60 seconds. It must end with the exit
code, print all of the words (the case or file, the value, what to do), show no traceback, and leave the input as it
was, byte for byte. A refused `inspect`, `evaluate` or `check-submission` writes nothing at all; a refused `train` or
`predict` leaves in its output folder that it ran (`log.jsonl`, `.presence.json`; `.lock`, `.writers` and `claims`, let
go) and nothing else. Exit code 0 is a documented tolerance: the input is used, with a warning where the words say so.

`inspect` and `train` tell every problem of a data set in one pass. A row has one, so that it is seen to be told.
"""


def render() -> str:
    """Return the page."""
    count = sum(len(rows) for rows in SECTIONS.values())
    parts = [_HEAD, f"There are {count} rows.\n"]
    parts += ["\n".join(_section(title, rows)) for title, rows in SECTIONS.items()]
    return "\n".join(parts)


def _section(title: str, rows: tuple[Row, ...]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| defect | layout | command | exit code | words |"
    yield "|---|---|---|---|---|"
    for row in rows:
        words = ", ".join(f"`{_cell(words)}`" for words in row.words)
        yield f"| {_cell(row.defect)} | {row.layout} | `{row.verb}` | {row.code} | {words} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", "\\n")


if __name__ == "__main__":
    PAGE.write_text(render())
