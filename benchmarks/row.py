"""What a measured row is made of; see `bench.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Places:
    """Where a row finds what it needs.

    Attributes:
        data: folder with the real data sets.
        work: scratch folder, kept between runs.
        peer: ``bin`` folder of the other tool's environment, or None.
        environment: of the shell that started this, for whole commands: no number of threads is set in it.
    """

    data: Path
    work: Path
    peer: Path | None
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Timed:
    """The result of a callable that measured itself."""

    seconds: float
    result: Any = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two results agree, in words, and whether that is as far as the row demands."""

    words: str
    holds: bool


def _no_comparison(reference: Any, ours: Any) -> Agreement:
    return Agreement("–", holds=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What a row times; see the module."""

    reference: Callable[[], Any]
    ours: Callable[[], Any]
    agree: Callable[[Any, Any], Agreement] = _no_comparison
    before: Callable[[], None] = lambda: None
    figures: Callable[[], dict[str, float]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        name: how ``--only`` and the results call it, e.g. ``resize/cubic-large``.
        job: what is done, in words.
        reference: what it is compared with, in words.
        target: the ratio of medians that is wanted, or None.
        prepare: makes the inputs.
        repetitions: timed rounds.
        threads: 1, or None for whole commands.
        warm_up: an untimed round comes first.
        needs_peer: needs the other tool's environment.
        remark: what stands beside the figure.
        missing: why it cannot be measured on this machine; then the table says so.
    """

    name: str
    job: str
    reference: str
    target: float | None
    prepare: Callable[[], Pair]
    repetitions: int = 5
    threads: int | None = 1
    warm_up: bool = True
    needs_peer: bool = False
    remark: str = ""
    missing: str = ""
