"""The environment of processes that a run starts from its own program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import nnbox


def child_environment(changes: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with changes, in which ``python -m nnbox…`` finds this very nnbox."""
    place = str(Path(nnbox.__file__).resolve().parent.parent)
    path = os.pathsep.join(part for part in (place, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **changes}
