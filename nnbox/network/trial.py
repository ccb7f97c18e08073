"""Whether the Triton kernels run on a device, tried once before training: forward, backward, against their twin."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from functools import lru_cache

import torch
from torch import Tensor

from nnbox.network.normact import normalized_rectified
from nnbox.records.engine import NormKind

_log = logging.getLogger(__name__)
_SHAPE = (2, 20, 5, 6, 7)
_CONSTANTS = (1e-5, 0.01)
_LARGEST_DIFFERENCE = 1e-3


@lru_cache
def kernels_refused(device: str) -> str | None:
    """Run the kernels on a small map; return None if they work there, else why not (told once as a warning).

    What can be missing is Triton, a C compiler for its launchers, a folder for its cache, or a driver that is new
    enough. Whatever it is, training goes on with the twin.
    """
    try:
        with torch.cuda.device(device) if torch.device(device).type == "cuda" else nullcontext():
            twin, found = (_step(device, kind) for kind in (NormKind.TWIN, NormKind.TRITON))
        largest = max(float((one - other).abs().max()) for one, other in zip(twin, found, strict=True))
        why = "" if largest <= _LARGEST_DIFFERENCE else f"they are {largest:.1e} off"
    except (KeyboardInterrupt, torch.OutOfMemoryError):
        raise
    except Exception as error:
        why = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
    if not why:
        return None
    _log.warning("the fused kernels do not run on %s (%s); their twin in torch is used, which is slower", device, why)
    return why


def _step(device: str, kind: NormKind) -> tuple[Tensor, ...]:
    """Return value and gradients of one pass over channels-last maps."""
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(_SHAPE, generator=random).to(device, memory_format=torch.channels_last_3d)
    scale, shift = (torch.rand(_SHAPE[1], generator=random).to(device) for _ in range(2))
    inputs = [array.detach().requires_grad_() for array in (maps, scale, shift)]
    result = normalized_rectified(inputs[0], (inputs[1], inputs[2]), _CONSTANTS, kind)
    gradients = torch.autograd.grad(result.square().mean(), inputs)
    return result.detach(), *gradients
