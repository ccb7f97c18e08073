"""A packed batch augmented on the device it lies on: what `nnbox.training.apply` does to one patch, for all at once.

The record that was drawn is the same; so are the order of the transforms, the orders of interpolation and the rules for
what lies outside. Differences: places, smoothing, means and deviations are float32 instead of float64. Nothing here
asks the device for a number, so the host is never kept waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.functional import pad

from nnbox.training.banded import MARGIN
from nnbox.training.interpolate import multiply_axes, read_moved
from nnbox.training.noise import white_noise
from nnbox.training.noise_on_device import white_noise_on
from nnbox.training.packed import Elastics, Moving, Packed
from nnbox.training.patches import RANGE_EPSILON
from nnbox.training.previous_on_device import change_previous_on_device
from nnbox.training.spline import spline_coefficients

BLOCK_VOX, LAST_BLOCK_VOX = 16, 64  # edges of the blocks in which points are read


def augment_packed(packed: Packed, previous_labels: int, *, kernels: bool = False) -> tuple[Tensor, Tensor]:
    """Return float32 images (sample, channel, *patch) and integer labels (sample, *patch), none below 0.

    Args:
        packed: on the device; its arrays are changed in place.
        previous_labels: of a previous stage; each becomes a channel.
        kernels: read volumes and mirror by Triton kernels instead of torch calls.
    """
    with _exact_products():
        image, labels, previous = _assembled(packed, kernels=kernels)
        _change_intensities(image, packed)
        mirrored = _mirrored_by_kernel if kernels else _mirrored
        image, labels = (mirrored(array, packed) for array in (image, labels))
        if previous is not None:
            values = torch.arange(1, previous_labels + 1, device=image.device, dtype=previous.dtype)
            maps = previous.unsqueeze(1) == values.view(-1, 1, 1, 1)
            image = torch.cat((image, mirrored(maps, packed).to(image.dtype)), dim=1)
    return image, labels


@contextmanager
def _exact_products() -> Iterator[None]:
    """Multiply matrices in full float32: places and coefficients need more than the 10 bits of TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _assembled(packed: Packed, *, kernels: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the patches that move beside those that stay: image, labels, changed previous labels."""
    image, labels, previous = packed.image, packed.labels.clamp_(min=0), packed.previous
    for moving in packed.moving:
        own_image, own_labels, own_previous = _moved(packed, moving, kernels=kernels)
        image.index_copy_(0, moving.rows, own_image)
        labels.index_copy_(0, moving.rows, own_labels)
        if previous is not None and own_previous is not None:
            previous.index_copy_(0, moving.rows, own_previous)
    if previous is not None:
        for sample, augmentation in enumerate(packed.augmentations):
            if augmentation.mask_operations or augmentation.removal:
                previous[sample] = change_previous_on_device(previous[sample], augmentation)
    return image, labels, previous


def _moved(packed: Packed, moving: Moving, *, kernels: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Interpolate the moving patches."""
    axes = tuple(axis for axis in range(3) if axis != packed.slice_axis)
    shape = tuple(packed.shape[axis] for axis in axes)
    margins = (MARGIN, MARGIN) * len(axes)
    maps = (moving.labels.clamp(min=0), *(() if moving.previous is None else (moving.previous,)))
    if moving.scaled_only:
        filtered = multiply_axes(moving.image, moving.filters)
    else:
        filtered = spline_coefficients(moving.image, moving.filters, moving.sizes)
    image, labels, *rest = (
        from_blocks(item, shape)
        for item in read_moved(
            filtered[:, :0] if moving.scaled_only else filtered,
            tuple(pad(item, margins) for item in maps),
            sample_places(moving, shape),
            moving.sizes,
            kernels=kernels,
        )
    )
    image = (filtered if moving.scaled_only else image).view(len(image), packed.image.shape[1], -1, *shape)
    previous = rest[0] if rest else None
    back = 0 if packed.slice_axis is None else packed.slice_axis
    if packed.slice_axis is None:
        return image.squeeze(2), labels.squeeze(1), None if previous is None else previous.squeeze(1)
    return (
        image.movedim(2, 2 + back),
        labels.movedim(1, 1 + back),
        None if previous is None else previous.movedim(1, 1 + back),
    )


def to_blocks(array: Tensor) -> Tensor:
    """Return (n, channels, *shape) as (n, channels, points), block after block: near in memory, near in a volume."""
    counts, edges = _blocks(tuple(array.shape[2:]))
    split = array.view(*array.shape[:2], *(part for pair in zip(counts, edges, strict=True) for part in pair))
    axes = len(counts)
    return split.permute(0, 1, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2)).flatten(2)


def from_blocks(array: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo `to_blocks`."""
    counts, edges = _blocks(shape)
    axes = len(counts)
    order = [axis for pair in zip(range(2, 2 + axes), range(2 + axes, 2 + 2 * axes), strict=True) for axis in pair]
    return array.view(*array.shape[:2], *counts, *edges).permute(0, 1, *order).reshape(*array.shape[:2], *shape)


def _blocks(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Choose how many blocks an axis has, and their edges: divisors of the sizes, longest on the last axis."""
    limits = (*(BLOCK_VOX,) * (len(shape) - 1), LAST_BLOCK_VOX)
    edges = tuple(
        next(edge for edge in range(min(limit, size), 0, -1) if size % edge == 0)
        for size, limit in zip(shape, limits, strict=True)
    )
    return tuple(size // edge for size, edge in zip(shape, edges, strict=True)), edges


def sample_places(moving: Moving, shape: tuple[int, ...]) -> Tensor:
    """Return (n, axes, points): where each voxel of the patches is read, in voxels of the windows, as `to_blocks`."""
    device, axes = moving.linear.device, len(shape)
    counts, edges = _blocks(shape)
    places = moving.centres.view(-1, axes, *(1,) * 2 * axes)
    for axis, (size, count, edge) in enumerate(zip(shape, counts, edges, strict=True)):
        line = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
        form = [1] * 2 * axes
        form[axis], form[axes + axis] = count, edge
        places = places + (moving.linear[:, :, axis, None] * line).view(-1, axes, *form)
    places = places.flatten(2)
    if moving.elastics is not None:
        rows, offsets = moving.elastics.rows, _elastic_offsets(moving.elastics, shape)
        places.index_add_(0, rows, torch.bmm(moving.linear.index_select(0, rows), to_blocks(offsets)))
    return places


def _elastic_offsets(elastics: Elastics, shape: tuple[int, ...]) -> Tensor:
    device = elastics.alphas.device
    wanted = (len(shape), *shape)
    if device.type == "cpu":
        noise = torch.stack([torch.from_numpy(white_noise(seed, wanted)) for seed in elastics.seeds])
    else:
        noise = white_noise_on(elastics.seed_words, wanted)
    return multiply_axes(noise, elastics.smoothing) * elastics.alphas.view(-1, 1, *(1,) * len(shape))


def _change_intensities(image: Tensor, packed: Packed) -> None:
    """Apply gammas in place; see `nnbox.training.apply.change_intensities`."""
    if not len(packed.gammas):
        return
    channels = image.view(-1, *packed.shape)
    some = channels.index_select(0, packed.gamma_rows).flatten(1)
    low, high = some.amin(dim=1, keepdim=True), some.amax(dim=1, keepdim=True)
    extent = high - low
    mean, sd = some.mean(dim=1, keepdim=True), _norm(some - some.mean(dim=1, keepdim=True))
    curved = (some - low).div_(extent.clamp(min=RANGE_EPSILON)).pow_(packed.gammas.unsqueeze(1))
    curved.sub_(curved.mean(dim=1, keepdim=True))
    # Both norms lack the same division by the root of the number of voxels, but for the smallest allowed deviation.
    factor = sd / _norm(curved).clamp(min=RANGE_EPSILON * some.shape[1] ** 0.5)
    changed = torch.addcmul(mean, curved, torch.where(extent <= RANGE_EPSILON, 0.0, factor))
    changed = torch.where(extent <= RANGE_EPSILON, some, changed)
    channels.index_copy_(0, packed.gamma_rows, changed.view(-1, *packed.shape))


def _norm(rows: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return norm


def _mirrored_by_kernel(array: Tensor, packed: Packed) -> Tensor:
    from nnbox.training.mirror_kernels import mirrored_by_kernel  # noqa: PLC0415 - Triton, only where it is used

    return mirrored_by_kernel(array, packed.mirror_bits)


def _mirrored(array: Tensor, packed: Packed) -> Tensor:
    """Flip the drawn axes of (sample, …, z, y, x)."""
    for axes, rows in packed.mirrored:
        flipped = array.index_select(0, rows).flip([axis - 3 for axis in axes])
        array.index_copy_(0, rows, flipped)
    return array
