"""What a row of `gpu.py` is made of, and the entry that is kept of one."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from gpu_place import GpuPlace

LONGEST_SHARE = 1.5
"""A row is cut off after so many times what it says to need."""


class NotMeasured(Exception):  # noqa: N818 - it is no error
    """Why a figure is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a row found; ``reference`` and ``remark`` may say more than the row knew before."""

    ours: list[float]
    theirs: list[float] | None = None
    figures: dict[str, float] = field(default_factory=dict)
    reference: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow:
    """One line of the GPU table.

    Attributes:
        name, job, reference: as in `row.Row`.
        target: the wanted ratio of theirs to ours, or None.
        limit_seconds: the wanted most of ours, or None.
        needs_seconds: time that must be left for it to be begun, compilation included; see `LONGEST_SHARE`.
        work: measures it; raises `NotMeasured`.
        compiles_ours: it is about a compilation, so that without one there is nothing to try again.
    """

    name: str
    job: str
    reference: str
    target: float | None = None
    limit_seconds: float | None = None
    needs_seconds: float
    work: Callable[[GpuPlace], Measured]
    compiles_ours: bool = False


def measure(row: GpuRow, place: GpuPlace) -> dict[str, Any]:
    """Run a row and return its entry; what cannot be measured says why, and does not end the others."""
    try:
        return entry(row, row.work(place), quick=place.quick)
    except NotMeasured as error:
        return entry(row, None, quick=place.quick, reason=str(error))
    except Exception as error:
        traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        return entry(row, None, quick=place.quick, reason=f"{type(error).__name__}: {first}")
    finally:
        place.forget_peak()


def entry(row: GpuRow, found: Measured | None, *, quick: bool, reason: str = "") -> dict[str, Any]:
    """Return what is kept of a row: what was found, or the reason why nothing was."""
    found = found or Measured(ours=[])
    theirs = median(found.theirs) if found.theirs else None
    ours = median(found.ours) if found.ours else None
    return {
        "name": row.name,
        "job": row.job,
        "reference": found.reference or row.reference,
        "threads": None,
        "reference_seconds": [number(value) for value in found.theirs or ()],
        "ours_seconds": [number(value) for value in found.ours],
        "reference_median": number(theirs),
        "ours_median": number(ours),
        "ratio": None if theirs is None or ours is None else number(theirs / ours),
        "target": row.target,
        "limit_seconds": row.limit_seconds,
        "agreement": "–",
        "agrees": True,
        "figures": {name: number(value) for name, value in found.figures.items()},
        "remark": found.remark,
        "not_measured": reason,
        "quick": quick,
    }


def number(value: float | None) -> float | None:
    """Return a figure as it is kept: four digits."""
    return None if value is None else float(f"{value:.4g}")
