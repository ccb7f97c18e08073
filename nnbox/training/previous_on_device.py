"""`nnbox.training.previous` in torch, without a word between device and host: the same voxels, bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor

from nnbox.records.augmentation import MaskOperation, SampleAugmentation
from nnbox.rules.augmentation import REMOVAL_LARGEST_SHARE
from nnbox.training.previous import compose

FAR = 1 << 14  # squared distances beyond any radius; fits 16 bits with the square of a radius added
ROUNDS = 40  # of joining neighbouring components; each at least halves what is left to join but in contrived masks


def change_previous_on_device(labels: Tensor, augmentation: SampleAugmentation) -> Tensor:
    """Apply the drawn mask operations in order, then the drawn removals, to (*space) labels."""
    for operation in augmentation.mask_operations:
        labels = _operate(labels, operation)
    for removed, choice in augmentation.removal:
        labels = remove_component(labels, removed, choice)
    return labels


def dilate(mask: Tensor, radius_vox: int) -> Tensor:
    """Return every voxel within ``radius_vox`` (Euclidean, inclusive) of the mask.

    Squared distances are found one axis after the other, up to the radius.
    """
    distances = torch.where(mask, 0, FAR).to(torch.int16)
    for axis in range(mask.ndim):
        size = mask.shape[axis]
        nearest = distances.clone()
        for step in range(1, min(radius_vox, size - 1) + 1):
            moved = distances + step * step
            for source, target in ((0, step), (step, 0)):
                ahead = nearest.narrow(axis, target, size - step)
                torch.minimum(ahead, moved.narrow(axis, source, size - step), out=ahead)
        distances = nearest.clamp_(max=FAR)
    return distances <= radius_vox * radius_vox


def erode(mask: Tensor, radius_vox: int) -> Tensor:
    """Return every voxel farther than ``radius_vox`` from the mask's complement; beyond the patch nothing is known."""
    return ~dilate(~mask, radius_vox)


def morph(mask: Tensor, operator: str, radius_vox: int) -> Tensor:
    """Apply ``dilation``, ``erosion``, ``opening`` or ``closing`` with a ball.

    Raises:
        ValueError: another operator.
    """
    return compose(mask, operator, radius_vox, (dilate, erode))


def _operate(labels: Tensor, operation: MaskOperation) -> Tensor:
    before = labels == operation.label
    after = morph(before, operation.operator, operation.radius_vox)
    return torch.where(after, operation.label, torch.where(before, 0, labels)).to(labels.dtype)


def remove_component(labels: Tensor, removed: int, choice: float) -> Tensor:
    """Remove one connected component (diagonals connect) if it covers less than 15 % of the patch."""
    mask = labels == removed
    names = components(mask).flatten()
    first = names == torch.arange(names.numel(), device=names.device)  # a component is named by its first voxel
    rank = first.cumsum(dim=0)
    wanted = (choice * rank[-1].double()).floor().long() + 1
    name = torch.where(first & (rank == wanted), names, 0).sum()  # no component: 0, which names none or the only voxel
    chosen = (names == name).view(mask.shape) & mask
    small = chosen.sum() < REMOVAL_LARGEST_SHARE * labels.numel()
    return torch.where(chosen & small, 0, labels).to(labels.dtype)


def components(mask: Tensor) -> Tensor:
    """Return int64 (*space): the lowest index among a voxel's component (diagonals connect); past all outside the mask.

    Every round each voxel hears the lowest name around it, the named voxel itself learns of it, and names are replaced
    by the names of what they name. On a CPU the rounds end when nothing changes; a device does them all, unasked.
    """
    count = mask.numel()
    index = torch.arange(count, device=mask.device)
    names = torch.where(mask.flatten(), index, count)
    none = names.new_full((1,), count)
    for _ in range(ROUNDS):
        lowest = torch.where(mask, _lowest_around(names.view(mask.shape), count), count).flatten()
        told = torch.where(lowest < names, names, index)  # to whom: a voxel that hears nothing new tells itself
        heard = torch.cat((names, none)).scatter_reduce(0, told, torch.minimum(lowest, names), "amin")
        following = heard[torch.minimum(lowest, names)]
        following = torch.cat((following, none))[following]
        if mask.device.type == "cpu" and torch.equal(following, names):
            break
        names = following
    return names.view(mask.shape)


def _lowest_around(names: Tensor, beyond: int) -> Tensor:
    for axis in range(names.ndim):
        edge = names.new_full((*names.shape[:axis], 1, *names.shape[axis + 1 :]), beyond)
        after = torch.cat((names.narrow(axis, 1, names.shape[axis] - 1), edge), dim=axis)
        before = torch.cat((edge, names.narrow(axis, 0, names.shape[axis] - 1)), dim=axis)
        names = torch.minimum(names, torch.minimum(after, before))
    return names
