"""Which variant of the Dice term a configuration is trained with."""

from __future__ import annotations

DICE_SMOOTHING = 1e-5


def uses_batch_dice(configuration: str, *, cascade: bool) -> bool:
    """Tell whether the whole batch counts as one sample in the Dice term.

    Per-sample Dice is for the 3D network that sees nearly the whole patient: the low-resolution stage where there is a
    cascade, the full-resolution network where there is none.

    Args:
        configuration: ``2d``, ``3d_fullres``, ``3d_lowres`` or ``3d_cascade``.
        cascade: whether the plan has a cascade.

    Source: 2018 §2.3
    """
    return configuration != ("3d_lowres" if cascade else "3d_fullres")
