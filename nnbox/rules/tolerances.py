"""Tolerances of the surface Dice: the Decathlon's by task name, else the largest median spacing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from itertools import combinations

import numpy as np

from nnbox.records.codec import decode
from nnbox.records.fingerprint import Fingerprint

TABLE = "tolerances.json"


def surface_tolerance_mm(task: str, fingerprint: Fingerprint) -> tuple[float, str]:
    """Return the surface-Dice tolerance of a task in mm, and where it comes from.

    A Decathlon task is known by its name's word, in any case and with or without a prefix such as ``Task04_``
    (``Task04_Hippocampus``, ``hippocampus``; ``Task01_BrainTumour`` starts with the word ``brain``). A longer word that
    only contains one, as ``Task99_MyHeartbeat``, is another data set.

    Source: own (from memory of the challenge, so editable; any other data set: its largest median spacing)
    """
    for organ, tolerance in read_tolerances().items():
        if _names(task, organ):
            return tolerance, f"the Decathlon's tolerance for {organ}"
    spacings = np.asarray([case.spacing_mm for case in fingerprint.cases], dtype=np.float64)
    if fingerprint.dimension == 2:
        spacings = spacings[:, 1:]
    largest = float(np.median(spacings, axis=0).max())
    return largest, f"{task} is no known Decathlon task: its largest median spacing, {largest:g} mm, is the tolerance"


def read_tolerances() -> Mapping[str, float]:
    """Return the table of tolerances in mm by the word in the task's name.

    Source: own (Decathlon conventions)
    """
    text = resources.files("nnbox.rules").joinpath(TABLE).read_text(encoding="utf-8")
    return {organ: decode(value, float, where=f"{TABLE}.{organ}") for organ, value in json.loads(text).items()}


def _names(task: str, organ: str) -> bool:
    """Tell whether the organ's name is made of whole words of the task's: HepaticVessel yes, Heartbeat no."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", task)]
    ranges = combinations(range(len(words) + 1), 2)
    return any("".join(words[first:last]) == organ for first, last in ranges)
