"""The kinds of charts the report is made of. Each takes plain numbers and gives a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from nnbox.report.document import Drawing
from nnbox.report.figures import INK, LINE, MUTED, PAPER, SERIES, draw, legend
from nnbox.report.statistics import mean_interval, quartiles

MOST_DOTS = 150
_LONGEST_NAME = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A row of a distribution plot: its name, its values, and the colour by number (from 0)."""

    name: str
    values: tuple[float, ...]
    color: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The axis of the values: its label, its scale, and where it must begin and end if that is fixed."""

    label: str
    logarithmic: bool = False
    low: float | None = None
    high: float | None = None
    zero_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line: its points, the colour by number, and whether it is broken."""

    x: tuple[float, ...]
    y: tuple[float | None, ...]
    color: int
    broken: bool = False


def distribution(key: str, title: str, alt: str, groups: Sequence[Group], axis: Axis) -> Drawing:
    """Draw every value as a dot, the quartiles as a box, and the mean with its 95 % interval as a diamond."""

    def paint(axes: Axes) -> None:
        if axis.logarithmic:
            axes.set_xscale("log")
            _logarithmic_ticks(axes, [value for group in groups for value in group.values])
        for row, group in enumerate(groups):
            _row(axes, row, group)
        if axis.zero_line:
            axes.axvline(0, color=MUTED, linewidth=0.9)
        axes.set_yticks(range(len(groups)), [_short(group.name) for group in groups])
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis.label)
        axes.set_xlim(axis.low, axis.high)

    return draw(key, title, alt, 0.62 + 0.36 * len(groups), paint)


def _logarithmic_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Write whole decades, and 1, 2, 5 of each where there are few decades."""
    narrow = not values or max(values) < 50 * min(values)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=8))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _row(axes: Axes, row: int, group: Group) -> None:
    if not group.values:
        return
    color = SERIES[group.color % len(SERIES)]
    low, middle, high = quartiles(group.values)
    if len(group.values) >= 4:
        axes.fill_between([low, high], row - 0.26, row + 0.26, color=color, alpha=0.18, linewidth=0)
        axes.plot([middle, middle], [row - 0.26, row + 0.26], color=color, linewidth=1.6)
    shown = _thinned(np.sort(np.asarray(group.values, dtype=np.float64)))
    # The golden ratio spreads neighbours apart, the same way every time.
    heights = row + 0.40 * ((np.arange(shown.size) * 0.6180339887) % 1.0 - 0.5)
    axes.plot(shown, heights, "o", color=color, markersize=2.4, markeredgewidth=0, alpha=0.75)
    mean = float(np.mean(group.values))
    if (ends := mean_interval(group.values)) is not None:
        axes.plot(ends, [row, row], color=INK, linewidth=1.1)
    axes.plot([mean], [row], "D", color=INK, markersize=3.6, markeredgecolor=PAPER, markeredgewidth=0.6)


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep both ends and every n-th value between: more dots than can be told apart only make the page heavy."""
    if values.size <= MOST_DOTS:
        return values
    kept: NDArray[np.float64] = values[np.unique(np.linspace(0, values.size - 1, MOST_DOTS).round().astype(int))]
    return kept


def curves(
    key: str, title: str, alt: str, lines: Sequence[Curve], axis: Axis, explained: Sequence[tuple[str, int, bool]] = ()
) -> Drawing:
    """Draw lines over epochs.

    Args:
        key: unique in the page.
        title: heading.
        alt: alternative text.
        lines: what to draw; an undefined y leaves a gap.
        axis: of the y values.
        explained: (name, colour, broken) of each kind of line; empty: no legend.
    """

    def paint(axes: Axes) -> None:
        for line in lines:
            y = np.array([np.nan if value is None else value for value in line.y], dtype=np.float64)
            # One point makes no line.
            mark = "o" if len(line.x) == 1 else "None"
            style, color = ":" if line.broken else "-", SERIES[line.color % len(SERIES)]
            axes.plot(line.x, y, marker=mark, markersize=3, linestyle=style, color=color)
        if axis.logarithmic:
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.set_ylabel(axis.label)
        axes.set_ylim(axis.low, axis.high)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if explained:
            legend(
                axes, [(name, SERIES[color % len(SERIES)], ":" if broken else "-") for name, color, broken in explained]
            )

    return draw(key, title, alt, 2.15 if explained else 1.95, paint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A bar from low to high inside a thin line from least to most, with a mark at the middle."""

    name: str
    least: float
    low: float
    middle: float
    high: float
    most: float


def ranges(key: str, title: str, alt: str, rows: Sequence[Range], label: str) -> Drawing:
    """Draw ranges of values, one below the other."""

    def paint(axes: Axes) -> None:
        for row, item in enumerate(rows):
            color = SERIES[row % len(SERIES)]
            axes.plot([item.least, item.most], [row, row], color=MUTED, linewidth=0.9)
            axes.fill_between([item.low, item.high], row - 0.2, row + 0.2, color=color, alpha=0.35, linewidth=0)
            axes.plot([item.middle], [row], "D", color=INK, markersize=3.6, markeredgecolor=PAPER, markeredgewidth=0.6)
        axes.set_yticks(range(len(rows)), [_short(item.name) for item in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)

    return draw(key, title, alt, 0.62 + 0.36 * len(rows), paint)


def bars(key: str, title: str, alt: str, rows: Sequence[tuple[str, float, str]], label: str) -> Drawing:
    """Draw one bar per row: (name, length, what is written at its end)."""

    def paint(axes: Axes) -> None:
        lengths = [length for _, length, _ in rows]
        axes.barh(range(len(rows)), lengths, height=0.55, color=SERIES[0], alpha=0.8)
        for row, (_, length, words) in enumerate(rows):
            axes.annotate(words, (length, row), xytext=(3, 0), textcoords="offset points", va="center", color=MUTED)
        axes.set_yticks(range(len(rows)), [_short(name) for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, (max(lengths, default=0) or 1) * 1.25)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_color(LINE)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel(label)

    return draw(key, title, alt, 0.62 + 0.28 * len(rows), paint)


def _short(name: str) -> str:
    """Cut a name that would take the room of the drawing; the table beside it has it in full."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
