"""Numbers with their origin, and how they are written.

An origin is ``file#/a/b``: the entry ``b`` of the entry ``a`` of a JSON file of the run's folder; ``*`` stands for
every entry of a list or object, in order, ``1,4`` for the second and the fifth, and ``@`` for the mean over all.
The file may be a pattern (``receipts/training/**/*.json``), a CSV table (then ``/row/column``, rows from 0, -1 is the
last), or the log: ``log.jsonl#/7/facts/name`` is that fact of its eighth event, ``log.jsonl#event[name=value]/facts/…``
of every event of a kind whose fact ``name`` is ``value``. Undefined entries do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnbox.evaluation.summary import mean_of_defined
from nnbox.report.document import Number, Part, Parts, Statistic
from nnbox.report.statistics import mean_interval, median_of

UNDEFINED = "–"
_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"


def token(name: str) -> str:
    """Write a name as one step of an origin, as JSON pointers do (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def decimals(value: float | None, digits: int) -> str:
    """Write a number with so many digits after the point; a dash where it is undefined."""
    if value is None:
        return UNDEFINED
    rounded = round(value, digits)
    return f"{rounded if rounded else 0.0:.{digits}f}".replace("-", _MINUS)


def significant(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits, never in powers of ten between 1e-4 and 1e15."""
    if value is None:
        return UNDEFINED
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -5 < magnitude < 15:
        return f"{value:.{digits - 1}e}".replace("e-", f"e{_MINUS}").replace("-", _MINUS)
    if magnitude >= digits - 1:
        return grouped(round(value, digits - 1 - magnitude))
    text = f"{value:.{digits - 1 - magnitude}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", _MINUS)


def grouped(value: float | None) -> str:
    """Write a whole number in groups of three digits."""
    return UNDEFINED if value is None else f"{value:,.0f}".replace(",", _THIN).replace("-", _MINUS)


def signed(value: float | None, digits: int) -> str:
    """Write a difference with its sign."""
    text = decimals(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def whole(value: float | None, source: str, statistic: Statistic = Statistic.VALUE) -> Number:
    """Return a whole number with its origin."""
    return Number(value=value, shown=grouped(value), source=source, statistic=statistic)


def exact(value: float | None, source: str, digits: int, statistic: Statistic = Statistic.VALUE) -> Number:
    """Return a number with its origin, written with so many digits after the point."""
    return Number(value=value, shown=decimals(value, digits), source=source, statistic=statistic)


def about(value: float | None, source: str, digits: int = 3, statistic: Statistic = Statistic.VALUE) -> Number:
    """Return a number with its origin, written with so many significant digits."""
    return Number(value=value, shown=significant(value, digits), source=source, statistic=statistic)


def count_of(values: Sequence[object], source: str) -> Number:
    """Return how many values that are defined lie at a place."""
    return whole(sum(value is not None for value in values), source, Statistic.COUNT)


def mean(values: Sequence[float | None], source: str, digits: int) -> Number:
    """Return the mean of what is defined."""
    return exact(mean_of_defined(values), source, digits, Statistic.MEAN)


def median(values: Sequence[float | None], source: str, digits: int) -> Number:
    """Return the median of what is defined."""
    return exact(median_of(values), source, digits, Statistic.MEDIAN)


def interval(values: Sequence[float | None], source: str, digits: int) -> Parts:
    """Return the 95 % interval of the mean as running text: a dash for fewer than two values."""
    found = mean_interval(values)
    if found is None:
        return (UNDEFINED,)
    return (
        exact(found[0], source, digits, Statistic.INTERVAL_LOW),
        " to ",
        exact(found[1], source, digits, Statistic.INTERVAL_HIGH),
    )


def by(parts: Sequence[Part]) -> Parts:
    """Join parts with a sign for times: sizes of several axes."""
    joined: list[Part] = []
    for part in parts:
        joined.extend((" × ", part) if joined else (part,))
    return tuple(joined)


def duration(seconds: float) -> str:
    """Write a duration for people: ``45 s``, ``12 min``, ``3.5 h``, ``12.1 days``."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def lasting(seconds: float, source: str, statistic: Statistic = Statistic.VALUE) -> Number:
    """Return a duration in seconds with its origin, written for people."""
    return Number(value=seconds, shown=duration(seconds), source=source, statistic=statistic)


def size(count: float | None, source: str, statistic: Statistic = Statistic.VALUE) -> Number:
    """Return a number of bytes with its origin, written in MB or GB."""
    if count is None:
        shown = UNDEFINED
    else:
        shown = f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
    return Number(value=count, shown=shown, source=source, statistic=statistic)
