"""What a report is made of, as records: the view between a run's records and the page.

Every number that stands in the page is a `Number`, which knows the file it comes from; a test reads the page and the
files and compares. So the page cannot say anything that the records do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Statistic(StrEnum):
    """What was done with the values at a number's source."""

    VALUE = "value"
    COUNT = "count"
    DISTINCT = "distinct"
    SUM = "sum"
    MEAN = "mean"
    MEDIAN = "median"
    MIN = "min"
    MAX = "max"
    INTERVAL_LOW = "interval-low"
    INTERVAL_HIGH = "interval-high"
    POSITIVE = "positive"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number as shown, with its origin.

    Attributes:
        value: the number in full; None where it is undefined.
        shown: what a reader sees, rounded.
        source: ``file#/place/in/it`` with ``*`` for all entries, relative to the run's folder; see
            `nnbox.report.numbers`.
        statistic: of the values found there.
        minus: a second place of as many values that are subtracted first, one by one; or None.
    """

    value: float | None
    shown: str
    source: str
    statistic: Statistic = Statistic.VALUE
    minus: str | None = None


Part = str | Number
Parts = tuple[Part, ...]
"""Running text: words and numbers in the order in which they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"

    parts: Parts
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; the first column names the rows.

    Attributes:
        caption: what it shows.
        columns: their headings.
        rows: as many cells as columns; a cell is running text.
        chosen: indices of rows to be emphasised.
    """

    kind: ClassVar[str] = "table"

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Parts, ...], ...]
    chosen: tuple[int, ...] = ()

    @property
    def numeric(self) -> tuple[int, ...]:
        """The columns that hold numbers, or a dash where there is none; they are set to the right."""
        found = []
        for column in range(1, len(self.columns)):
            cells = [row[column] for row in self.rows]
            counted = [any(isinstance(part, Number) for part in cell) for cell in cells]
            if any(counted) and all(has or cell == ("–",) for has, cell in zip(counted, cells, strict=True)):
                found.append(column)
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure as SVG markup.

    Attributes:
        key: unique in the page.
        title: heading above it.
        alt: what a person who cannot see it is told.
        svg: the markup.
    """

    key: str
    title: str
    alt: str
    svg: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawings:
    """Figures side by side, as many as the page is wide."""

    kind: ClassVar[str] = "drawings"

    items: tuple[Drawing, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """An image of pixels: PNG bytes, its alternative text and its caption."""

    alt: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseView:
    """One case in pictures: pairs of a plain slice and the same slice with its labels.

    Attributes:
        title: which case and why it is shown.
        lead: its numbers.
        pairs: (plain, with labels) for each plane.
        legend: (name, colour, meaning).
    """

    kind: ClassVar[str] = "case"

    title: str
    lead: Parts
    pairs: tuple[tuple[Picture, Picture], ...]
    legend: tuple[tuple[str, str, str], ...]


class Level(StrEnum):
    """How much a quality flag matters."""

    PROBLEM = "problem"
    ATTENTION = "attention"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Something a reader should know before believing the numbers: what, why it matters, the section that shows it."""

    level: Level
    title: str
    parts: Parts
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Quality flags, the gravest first."""

    kind: ClassVar[str] = "flags"

    items: tuple[Flag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A headline number with its name and a remark."""

    name: str
    parts: Parts
    remark: Parts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The headline numbers."""

    kind: ClassVar[str] = "tiles"

    items: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One planned value: what was decided, the reason, the rule and its source, and the numbers the rule saw."""

    subject: str
    outcome: Parts
    sentence: str
    rule: str
    source: str
    inputs: tuple[tuple[str, Parts], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The plan, value by value."""

    kind: ClassVar[str] = "arguments"

    items: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Text to be copied as it is."""

    kind: ClassVar[str] = "code"

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A heading inside a section, and what belongs to it comes after it."""

    kind: ClassVar[str] = "heading"

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Something folded away, with the line that opens it."""

    kind: ClassVar[str] = "details"

    summary: str
    blocks: tuple[Block, ...]


Block = (
    Paragraph | Table | Drawings | CaseView | Flags | Tiles | Arguments | Code | Heading | Details  # what a page holds
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page: its key (the anchor), its title and its blocks."""

    key: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole page.

    Attributes:
        title: of the page, e.g. the task's name.
        state: one word: finished, running, unfinished, inspected.
        sentence: what it is about, in one or two sentences.
        made: when and with what it was made.
        sections: in order.
    """

    title: str
    state: str
    sentence: Parts
    made: str
    sections: tuple[Section, ...]
