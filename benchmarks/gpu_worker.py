"""The process in which `gpu.py` measures: it asks the card for its rates, then runs the rows it is told to."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gpu_rows
import torch
from gpu_place import QUICK, Amounts, GpuPlace
from gpu_row import measure, number
from roofline import measure_rates

CARD = "card"
"""The first question; every other one is the name of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process is told: see `GpuPlace`."""

    device: str
    folder: Path
    quick: bool
    ends_at: float
    cores: int
    may_compile: bool = True


def serve(settings: Settings, connection: Connection) -> None:
    """Answer with entries until the connection is closed."""
    torch.set_num_threads(settings.cores)
    place = GpuPlace(
        device=settings.device,
        folder=settings.folder,
        quick=settings.quick,
        amounts=QUICK if settings.quick else Amounts(),
        ends_at=settings.ends_at,
        may_compile=settings.may_compile,
    )
    rows = {row.name: row for row in gpu_rows.rows()}
    while True:
        question = connection.recv()
        connection.send(_card(place, settings.cores) if question == CARD else measure(rows[question], place))


def _card(place: GpuPlace, cores: int) -> dict[str, Any]:
    kind = torch.bfloat16 if place.on_card else torch.float32
    place.rates = measure_rates(place.device, kind, size=place.amounts.matrix, copied_bytes=place.amounts.copied_bytes)
    return {
        **place.card(),
        "cpu_cores": cores,
        "cpu_threads": torch.get_num_threads(),
        "measured_tflop_per_second": number(place.rates.operations_per_second / 1e12),
        "measured_gb_per_second": number(place.rates.bytes_per_second / 1e9),
    }
