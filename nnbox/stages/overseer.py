"""Who follows the work on one network: hears its news, may forbid it to write, and sees that it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbox.training.progress import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Overseer:
    """Who follows the work on one network.

    Attributes:
        report: is told its news.
        may_write: is called before anything is written, at least once an epoch and before every validation case; raises
            where another run has taken the network over.
        see: is called whenever tiles of a validation case were predicted, by any thread.
    """

    report: Callable[[Report], None]
    may_write: Callable[[], None]
    see: Callable[[], None]


def nobody() -> None:
    """Look at nothing."""
