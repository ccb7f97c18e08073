"""A card that turns out to be full: one thing more is held back, and it is asked again. Source: own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nnbox.inference.manner import Manner, less_on_card
from nnbox.network.device import CardFullError, Device, free_card_bytes
from nnbox.stages.journal import Journal

MORE_MEMORY = "or use a card with more memory; the same command continues with this case"
"""A remedy that holds for every case; see `Asked`."""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the networks on a card are asked about.

    Attributes:
        case: its name.
        shape_vox: of its grid.
        device: the card.
        remedy: what else helps, as the end of a sentence that begins with "use --device cpu; ".
    """

    case: str
    shape_vox: Sequence[int]
    device: Device
    remedy: str


def answered(
    ask: Callable[[Manner], _Answer], manner: Manner, asked: Asked, journal: Journal
) -> tuple[_Answer, Manner]:
    """Ask the networks; while the card is too full, hold one thing more back and ask again.

    Args:
        ask: the networks, in a manner; see `nnbox.network.device.card_errors`.
        manner: to begin with.
        asked: about what.
        journal: is told of each attempt.

    Returns:
        The answer, and the manner in which it came, for the next case.

    Raises:
        CardFullError: nothing is left to hold back.
    """
    while True:
        try:
            return ask(manner), manner
        except CardFullError as error:
            full = error
        less = less_on_card(manner)
        if less is None:
            shape = " x ".join(map(str, asked.shape_vox))
            raise CardFullError(
                f"{asked.case} ({shape} voxels) does not fit on the card with everything held back; {full}. What to "
                f"do: end what else uses the card ({free_card_bytes(asked.device) / 1e9:.1f} GB are free now); use "
                f"--device cpu; {asked.remedy}."
            )
        manner = less
        journal.warn(
            "card_full",
            f"{asked.case}: {full}; it is begun anew with {manner.held_back()[-1]}",
            {"case": asked.case, "held_back": list(manner.held_back())},
        )
