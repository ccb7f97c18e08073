"""In which numbers a network computes."""

from __future__ import annotations

from enum import StrEnum

from nnbox.errors import UsageError


class Precision(StrEnum):
    """The arithmetic of convolutions (``--precision``); weights, sums and losses are float32 in every case.

    ``auto`` is float32 on a CPU, and on a GPU bf16 where the card has it, else fp16.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BF16 = "bf16"
    FP16 = "fp16"


def parse_precision(word: str) -> Precision:
    """Return the precision of ``--precision``.

    Raises:
        UsageError: no such precision.
    """
    try:
        return Precision(word)
    except ValueError:
        raise UsageError(f"--precision {word}: expected one of {', '.join(item.value for item in Precision)}") from None
