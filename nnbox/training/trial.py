"""Whether a training's own Triton kernels run on a device, tried once: loss, reading and mirroring, against torch."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from nnbox.network.precision import half_type
from nnbox.network.trial import LARGEST_DIFFERENCE, difference, refusal
from nnbox.records.precision import Precision
from nnbox.training.banded import MARGIN
from nnbox.training.interpolate import read_moved
from nnbox.training.loss import segmentation_loss

_CLASSES, _SPACE = 3, (5, 6, 7)


@lru_cache
def training_kernels_refused(device: str, precision: Precision) -> str | None:
    """Return None if the kernels work there on something small, else why not; see `nnbox.network.trial`."""
    half = half_type(precision)

    def differences() -> list[float]:
        twin, found = (
            (*_loss(device, half, kernels=kernels), *_read(device, kernels=kernels)) for kernels in (False, True)
        )
        return [difference(one, other) for one, other in zip(twin, found, strict=True)]

    return refusal(differences, LARGEST_DIFFERENCE[half], device)


def _loss(device: str, half: torch.dtype | None, *, kernels: bool) -> tuple[Tensor, ...]:
    """Return a loss and its gradient."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((2, _CLASSES, *_SPACE), generator=random).to(
        device, half, memory_format=torch.channels_last_3d
    )
    labels = torch.randint(0, _CLASSES, (2, *_SPACE), generator=random).to(device, torch.int8)
    logits.requires_grad_()
    loss = segmentation_loss(logits, labels, batch_dice=True, kernels=kernels)
    return loss.detach(), *torch.autograd.grad(loss, logits)


def _read(device: str, *, kernels: bool) -> tuple[Tensor, ...]:
    """Return an image and labels as read between voxels, mirrored."""
    random = torch.Generator().manual_seed(0)
    shape = tuple(size + 2 * MARGIN for size in _SPACE)
    images = torch.randn((2, 1, *shape), generator=random).to(device)
    labels = torch.randint(0, _CLASSES, (2, 1, *shape), generator=random).to(device, torch.int8)
    sizes = torch.tensor([_SPACE, _SPACE], dtype=torch.float32, device=device)
    places = torch.rand((2, 3, 5 * 6 * 7), generator=random).to(device) * (sizes.unsqueeze(2) - 1)
    read = (item.view(2, 1, *_SPACE) for item in read_moved(images, (labels,), places, sizes, kernels=kernels))
    if not kernels:
        return tuple(torch.stack((item[0], item[1].flip([1, 3]))) for item in read)
    from nnbox.training.mirror_kernels import mirrored_by_kernel  # noqa: PLC0415 - Triton, only where it is used

    axes = torch.tensor([0, 0b101], dtype=torch.int32, device=device)
    return tuple(mirrored_by_kernel(item, axes) for item in read)
