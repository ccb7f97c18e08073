"""Which numbers a device computes in, decided in one place."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from nnbox.errors import ResourceError
from nnbox.records.precision import Precision

_HALF = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}


def choose_precision(wanted: Precision, device: torch.device | str) -> Precision:
    """Settle ``auto``: float32 on a CPU; on a GPU bf16 where the card computes in it, else fp16. Source: own.

    Raises:
        ResourceError: the device cannot compute in what was asked for.
    """
    device = torch.device(device)
    if device.type == "cpu":
        if wanted is Precision.FP16:
            raise ResourceError("--precision fp16: a CPU computes in float32 or bf16. What to do: use one of these.")
        return Precision.FLOAT32 if wanted is Precision.AUTO else wanted
    with torch.cuda.device(device):  # torch asks the current one
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted is Precision.BF16 and not has_bf16:
        raise ResourceError(f"--precision bf16: {device} has no bf16. What to do: use fp16 or float32.")
    if wanted is Precision.AUTO:
        return Precision.BF16 if has_bf16 else Precision.FP16
    return wanted


def half_type(precision: Precision) -> torch.dtype | None:
    """Return the 16-bit type of a settled precision; None for float32."""
    return _HALF.get(precision)


def autocast(
    device: torch.device | str, precision: Precision, *, weights_kept: bool = True
) -> AbstractContextManager[object]:
    """Return the context in which a network runs in a settled precision; its weights stay float32.

    Args:
        device: where it runs.
        precision: settled.
        weights_kept: narrowed weights are kept until the context is left; a step that is recorded must narrow its own.
    """
    half = half_type(precision)
    if half is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=half, cache_enabled=weights_kept)
