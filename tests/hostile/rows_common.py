"""What most rows are made of: a small data set in a layout, spoilt in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from defect_row import PREDICT, Row
from small_set import SmallSet, Spoil


def row(
    defect: str, layout: str, ending: str, spoil: Spoil | None, command: str, code: int, *words: str, **fields: Any
) -> Row:
    """Return the row of a data set that is written whole and then spoilt; ``fields`` are `SmallSet`'s."""

    def make(place: Path) -> None:
        data = SmallSet(place, layout=layout, ending=ending, **fields)
        data.write()
        if spoil is not None:
            spoil(data)

    return Row(
        defect=defect,
        layout=f"{layout}, {ending}",
        command=command,
        code=code,
        words=words,
        make=make,
        model=command.startswith(PREDICT.split()[0]),
    )
