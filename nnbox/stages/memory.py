"""Memory of a prediction: settled before it starts, said aloud, and kept to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nnbox.errors import ResourceError, UsageError
from nnbox.imaging.io import read_header
from nnbox.imaging.memory import SourceSize
from nnbox.inference.manner import Manner, manners
from nnbox.limits import available_memory_bytes, give_back_large_arrays, held_bytes
from nnbox.network.device import Device, free_card_bytes
from nnbox.records.dataset import Case
from nnbox.stages.context import Context
from nnbox.stages.footprint import CaseFootprint, Networks, case_footprint, together_bytes

FIRST_USE_BYTES = 20_000_000
"""What libraries take when networks are first asked: generated code, threads, matrix products.

Measured while freed arrays go back at once (`give_back_large_arrays`).
"""
GAPS_BYTES = 75_000_000
"""What freed arrays usually take that are kept for later ones. It is a matter of chance: 25 to 150 MB were measured.

So twice as much must be free for them to be kept.
"""
_USED_SHARE = 0.9
_MARGIN = 1.02  # what a process holds before it begins differs a little from run to run
_BYTES_PER_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a prediction is done, and what it will hold at the most.

    Attributes:
        manner: what is held back.
        peak_bytes: of this process and all it started.
        card_bytes: on the card; 0 without one.
    """

    manner: Manner
    peak_bytes: int
    card_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What there is.

    Attributes:
        host_bytes: allowed to this process and all it started.
        held_bytes: of that, in use already.
        card_bytes: free on the card.
        asked: whether the user named the limit.
    """

    host_bytes: int
    held_bytes: int
    card_bytes: int
    asked: bool


def limit_bytes(limit_gb: float | None) -> int:
    """Return what a prediction may hold: ``--memory-limit``, or 90 % of what the container's limits leave.

    Raises:
        UsageError: not a positive number.
    """
    if limit_gb is None:
        return int(_USED_SHARE * available_memory_bytes())
    if not (limit_gb > 0 and math.isfinite(limit_gb)):
        raise UsageError(f"--memory-limit {limit_gb:g}: a positive number of GB is expected, e.g. --memory-limit 8")
    return int(limit_gb * _BYTES_PER_GB)


def settle(
    context: Context, cases: Sequence[Case], networks: Networks, device: Device, limit_gb: float | None
) -> Settled:
    """Choose the first manner in which every case fits, and say what it will hold at the most.

    Sizes are read from the headers of the images, and counted as if nothing were cropped.

    Raises:
        ResourceError: the cases do not fit however much is held back; with the number needed.
        UsageError: see `limit_bytes`.
    """
    room = _Room(
        host_bytes=limit_bytes(limit_gb),
        held_bytes=held_bytes(),
        card_bytes=free_card_bytes(device),
        asked=limit_gb is not None,
    )
    sources = [source_size(context, case) for case in cases]
    for manner in manners(on_card=networks.on_card):  # the last of them is what a refusal speaks of
        gaps = GAPS_BYTES if manner.keep_freed else 0
        footprints = [case_footprint(source, networks, manner) for source in sources]
        found = Settled(
            manner=manner,
            peak_bytes=room.held_bytes + FIRST_USE_BYTES + gaps + together_bytes(footprints, ahead=manner.ahead),
            card_bytes=max(item.card for item in footprints),
        )
        if found.peak_bytes + gaps <= room.host_bytes and found.card_bytes <= room.card_bytes:
            if not manner.keep_freed:
                give_back_large_arrays()
            _announce(context, found, room, _largest(footprints, cases))
            return found
    raise _refusal(found, room, _largest(footprints, cases))


def source_size(context: Context, case: Case) -> SourceSize:
    """Return what the headers of a case's images tell.

    Raises:
        ImageReadError: one cannot be read.
    """
    return SourceSize.of([read_header(context.root / path) for path in case.images])


def _largest(footprints: Sequence[CaseFootprint], cases: Sequence[Case]) -> Case:
    sizes = [max(item.reading, item.prepared + item.asking + item.card, item.writing) for item in footprints]
    return cases[sizes.index(max(sizes))]


def _announce(context: Context, settled: Settled, room: _Room, largest: Case) -> None:
    held_back = settled.manner.held_back()
    sentence = f"peak memory: about {_gb(settled.peak_bytes)} of {_gb(room.host_bytes)} allowed"
    if settled.card_bytes:
        sentence += f", and {_gb(settled.card_bytes)} of {_gb(room.card_bytes)} on the card"
    sentence += f"; {', '.join(held_back)}" if held_back else "; nothing is held back"
    context.journal.say(
        "memory",
        sentence,
        {
            "peak_bytes": settled.peak_bytes,
            "limit_bytes": room.host_bytes,
            "held_bytes": room.held_bytes,
            "card_bytes": settled.card_bytes,
            "largest_case": largest.name,
            "held_back": list(held_back),
        },
    )


def _refusal(settled: Settled, room: _Room, largest: Case) -> ResourceError:
    name = f"the largest case, {largest.name},"
    if settled.peak_bytes > room.host_bytes:
        needed = math.ceil(100 * _MARGIN * settled.peak_bytes / _BYTES_PER_GB) / 100
        remedy = (
            f"allow --memory-limit {needed:g}"
            if room.asked
            else f"give the machine or the container {needed / 0.9:.1f} GB"
        )
        return ResourceError(
            f"{name} needs about {needed:g} GB of memory with everything held back, and {_gb(room.host_bytes)} are "
            f"allowed. What to do: {remedy}; use fewer --folds; or leave the case out with --exclude {largest.name}."
        )
    return ResourceError(
        f"{name} needs about {_gb(settled.card_bytes)} on the card with everything held back, and "
        f"{_gb(room.card_bytes)} are free there. What to do: end what else uses the card; use --device cpu; use fewer "
        f"--folds; or leave the case out with --exclude {largest.name}."
    )


def _gb(count: int) -> str:
    return f"{count / _BYTES_PER_GB:.1f} GB" if count >= 0.95 * _BYTES_PER_GB else f"{count / _BYTES_PER_GB:.2f} GB"
