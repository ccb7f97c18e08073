"""Whether the Triton kernels run on a device, tried once before training: forward, backward, against their twin."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nnbox.network.joining import joined
from nnbox.network.normact import normalized_rectified
from nnbox.network.precision import half_type
from nnbox.network.stem import convolved
from nnbox.records.engine import NormKind
from nnbox.records.precision import Precision

_log = logging.getLogger(__name__)
_SHAPE = (2, 20, 5, 6, 7)
_STEM = (64, 4)  # the most features and channels of 27 taps that the kernel takes: what needs most shared memory
_CONSTANTS = (1e-5, 0.01)
LARGEST_DIFFERENCE = {None: 1e-3, torch.bfloat16: 3e-2, torch.float16: 4e-3}  # as a part of the largest value


@lru_cache
def kernels_refused(device: str, precision: Precision) -> str | None:
    """Run a network's kernels on a small map; return None if they work there, else why not (told once as a warning).

    The map has the type that convolutions leave in this (settled) precision: kernels are compiled anew for each.
    What can be missing is Triton, a C compiler for its launchers, a folder for its cache, or a driver that is new
    enough. Whatever it is, training goes on with the twin.
    """
    half = half_type(precision)

    def differences() -> list[float]:
        twin, found = (_step(device, kind, half) for kind in (NormKind.TWIN, NormKind.TRITON))
        return [difference(one, other) for one, other in zip(twin, found, strict=True)]

    return refusal(differences, LARGEST_DIFFERENCE[half], device)


def refusal(differences: Callable[[], Sequence[float]], limit: float, device: str) -> str | None:
    """Try kernels; return None if they work, else why not, which is told as a warning.

    Args:
        differences: runs them beside their twins and returns by how much they differ, see `difference`.
        limit: the most that may be.
        device: where.
    """
    try:
        with torch.cuda.device(device) if torch.device(device).type == "cuda" else nullcontext():
            off = differences()
        good = all(part <= limit for part in off)  # not for one that is not a number
        why = "" if good else f"they are {', '.join(f'{part:.1e}' for part in off)} off"
    except (KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except Exception as error:
        why = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
    if not why:
        return None
    _log.warning("the fused kernels do not run on %s (%s); their twin in torch is used, which is slower", device, why)
    return why


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference as a part of the largest value; not a number where either holds one that is not."""
    return float((one.float() - other.float()).abs().max() / one.float().abs().max())


def _step(device: str, kind: NormKind, half: torch.dtype | None) -> tuple[Tensor, ...]:
    """Return value and gradients of one pass: maps (in 16 bits with a convolution added), normalised, joined."""
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(_SHAPE, generator=random).to(device, half, memory_format=torch.channels_last_3d)
    scale, shift = (torch.rand(_SHAPE[1], generator=random).to(device) for _ in range(2))
    inputs = [array.detach().requires_grad_() for array in (maps, scale, shift)]
    if half is not None:
        inputs.append(torch.randn((*_STEM, 3, 3, 3), generator=random).to(device).requires_grad_())
        inputs[0] = inputs[0] + _stem(inputs[-1], kind, half, random)[:, : _SHAPE[1]]
    maps = normalized_rectified(inputs[0], (inputs[1], inputs[2]), _CONSTANTS, kind)
    result = joined(maps, inputs[0], kernels=kind is NormKind.TRITON)
    gradients = torch.autograd.grad(result.float().square().sum(), inputs)
    return result.detach(), *gradients


def _stem(weight: Tensor, kind: NormKind, half: torch.dtype, random: torch.Generator) -> Tensor:
    """Return the convolution of a 16-bit image."""
    image = torch.randn((_SHAPE[0], _STEM[1], *_SHAPE[2:]), generator=random).to(weight.device, half)
    if kind is NormKind.TRITON:
        return convolved(image, weight)
    return F.conv3d(image.float(), weight.to(half).float(), padding=1).to(half)
