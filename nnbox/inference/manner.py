"""What a prediction holds back where memory is short, in a fixed order; what changes no label comes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from nnbox.inference.passes import Effort


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a prediction is done; only ``halves`` can change a label.

    Attributes:
        keep_freed: let the C library keep freed arrays for later ones.
        ahead: read the next case and write the last one beside the networks.
        several: several passes at a time, each in its own thread.
        batched: several mirrored passes or tiles to a call of a network.
        remember: keep the answer to constant tiles.
        keep_weights: keep every network; else each is mapped from its file for one pass at a time.
        halves: what waits for the next row of tiles rests in 16 bits.
    """

    keep_freed: bool = True
    ahead: bool = True
    several: bool = True
    batched: bool = True
    remember: bool = True
    keep_weights: bool = True
    halves: bool = False

    def effort(self, usual: Effort) -> Effort:
        """Return how much is done at once of what usually is."""
        return Effort(
            streams=usual.streams if self.several else 1,
            threads=usual.threads,
            samples=usual.samples if self.batched else 1,
            remember=usual.remember and self.remember,
        )

    def held_back(self) -> tuple[str, ...]:
        """Return what is held back, in words, in the order in which it came."""
        words = (
            (self.keep_freed, "freed arrays go back at once"),
            (self.ahead, "no reading or writing beside the networks"),
            (self.several, "one pass at a time"),
            (self.batched, "one tile to a pass"),
            (self.remember, "no answer remembered"),
            (self.keep_weights, "weights mapped anew for each pass"),
            (not self.halves, "waiting sums in 16 bits"),
        )
        return tuple(word for is_kept, word in words if not is_kept)


def manners(*, on_card: bool) -> Iterator[Manner]:
    """Yield what to try, in order: each holds back one thing more than the one before it.

    Source: own. On a card passes do not run side by side, and weights stay: to bring them there anew would take longer
    than the pass.
    """
    yield (manner := Manner())
    yield (manner := replace(manner, keep_freed=False))
    yield (manner := replace(manner, ahead=False))
    if not on_card:
        yield (manner := replace(manner, several=False))
    yield (manner := replace(manner, batched=False))
    yield (manner := replace(manner, remember=False))
    if not on_card:
        yield (manner := replace(manner, keep_weights=False))
    yield replace(manner, halves=True)


def less_on_card(manner: Manner) -> Manner | None:
    """Return the next of `manners` that needs less of a card; None where nothing is left to hold back."""
    if manner.batched:
        return replace(manner, batched=False)
    if manner.remember:
        return replace(manner, remember=False)
    return None if manner.halves else replace(manner, halves=True)
