"""What passes between a run and a process that trains one network for it: an order in, lines of news out. JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nnbox.errors import NnboxError, RecordError, Severity, error_of
from nnbox.network.device import Device
from nnbox.records.codec import decode, encode
from nnbox.records.engine import Engine
from nnbox.stages.options import TrainOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOrder:
    """One network to train and validate; all else is read from the run's folder.

    Attributes:
        parent: process of the run; the work ends with it.
        run: its name in the log.
        steps_told: tell of epochs; False where a live view shows them.
        root: the data set.
        output: the task's output folder.
        options: what the user asked for.
        configurations: those of the run, in order.
        configuration, fold: the network.
        device: where it is trained.
        workers: processes that prepare its batches.
        at_once: how many networks the device trains with this one, as far as is known.
    """

    RECORD: ClassVar[str] = "training_order"
    VERSION: ClassVar[int] = 1

    parent: int
    run: str | None
    steps_told: bool
    root: Path
    output: Path
    options: TrainOptions
    configurations: tuple[str, ...]
    configuration: str
    fold: int
    device: Device
    workers: int
    at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A sentence for whoever listens to the run; see `nnbox.stages.journal.Listener`."""

    severity: Severity | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The time of a step, measured over the first ones, and the most memory held on the card by then."""

    seconds_per_step: float
    peak_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """How the work failed: an exit code of `nnbox.errors` and its message."""

    exit_code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What the system refused: the number, reason and file of an `OSError`."""

    number: int
    reason: str
    file: str | None


News = Said | Alive | Engine | Measured | Failed | Refused
_KINDS: dict[str, type[News]] = {
    "said": Said,
    "alive": Alive,
    "engine": Engine,
    "measured": Measured,
    "failed": Failed,
    "refused": Refused,
}


def news_line(news: News) -> str:
    """Return news as one line of JSON."""
    name = next(name for name, kind in _KINDS.items() if isinstance(news, kind))
    return json.dumps({name: encode(news)}, ensure_ascii=True) + "\n"


def read_news(line: str) -> News | None:
    """Read a line; None for one that is no news (a library may write to standard output, too)."""
    try:
        found: Any = json.loads(line)
        ((name, value),) = found.items()
        return decode(value, _KINDS[name], where="news")
    except (ValueError, KeyError, AttributeError, TypeError, RecordError):
        return None


def failure(news: Failed | Refused) -> NnboxError | OSError:
    """Return the error that a process told, of its own kind."""
    if isinstance(news, Refused):
        return OSError(news.number, news.reason, news.file)
    return error_of(news.exit_code, news.message)
