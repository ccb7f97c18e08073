"""One seed, many independent streams: every random generator derives from (seed, unit, step, sample)."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, unit: str, step: int = 0, sample: int = 0) -> np.random.Generator:
    """Return the generator of one sample of one step of one unit.

    The stream depends on these four values alone, not on the number of workers nor on what ran before, so that a
    resumed or a parallel run draws the same numbers. Source: own.

    Args:
        seed: the run's seed, >= 0.
        unit: the unit's name, e.g. ``"3d_fullres/fold_0"``; a purpose may be appended (``"…/validation"``).
        step: the optimiser step (or any running number), >= 0.
        sample: the sample's place in the batch, >= 0.
    """
    name = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, name, step, sample])))
