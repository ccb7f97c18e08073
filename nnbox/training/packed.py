"""A batch on its way to a device, as records of tensors; made by `nnbox.training.pack`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from nnbox.records.augmentation import SampleAugmentation

ALIGNED_BYTES = 256  # as a card's own memory is: products of matrices are quick on what begins there


@dataclass(frozen=True, slots=True)
class _Tensors:
    """A record of tensors that goes to a device as a whole."""

    def to(self, device: torch.device) -> Self:
        """Return the record with its tensors on a device, which is not waited for.

        Pinned tensors travel one by one. The others are small, and go together: a copy costs more than its bytes.
        """
        if device.type == "cpu":
            return self
        small = [tensor for tensor in _tensors(self) if tensor.device.type == "cpu" and not tensor.is_pinned()]
        there = dict(zip(map(id, small), carried_together(small, device), strict=True))
        return replace(self, **{one.name: _moved(getattr(self, one.name), device, there) for one in fields(self)})


def carried_together(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return contiguous host tensors on a device, parts of one that is copied at once."""
    starts, end = [], 0
    for tensor in tensors:
        starts.append(end)
        end += -(-tensor.nbytes // ALIGNED_BYTES) * ALIGNED_BYTES
    if not end:
        return [tensor.to(device) for tensor in tensors]
    whole = torch.empty(end, dtype=torch.uint8, pin_memory=device.type == "cuda")
    written = whole.numpy()
    for start, tensor in zip(starts, tensors, strict=True):
        written[start : start + tensor.nbytes] = tensor.numpy().reshape(-1).view(np.uint8)
    there = whole.to(device, non_blocking=True)
    typed = {kind: there.view(kind) for kind in {tensor.dtype for tensor in tensors}}
    return [
        typed[tensor.dtype].as_strided(tensor.shape, tensor.stride(), start // tensor.itemsize)
        for start, tensor in zip(starts, tensors, strict=True)
    ]


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, _Tensors):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)


def _moved(value: object, device: torch.device, there: Mapping[int, Tensor]) -> object:
    """Return a value with its tensors on a device; ``there`` are those that are already, by the id of the original."""
    if isinstance(value, Tensor):
        return there[id(value)] if id(value) in there else value.to(device, non_blocking=True)
    if isinstance(value, _Tensors):
        return replace(value, **{one.name: _moved(getattr(value, one.name), device, there) for one in fields(value)})
    if isinstance(value, tuple):
        return tuple(_moved(part, device, there) for part in value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastics(_Tensors):
    """Elastic deformations: which of the moved patches, seeds of the noise, amplitudes, smoothing matrix per axis.

    ``seed_words`` are the seeds again, int32 (n, 2), for `nnbox.training.noise_on_device`.
    """

    rows: Tensor
    seeds: tuple[int, ...]
    seed_words: Tensor
    alphas: Tensor
    smoothing: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving(_Tensors):
    """Patches that are interpolated, n of them, along a axes; their windows are padded to one size.

    Attributes:
        rows: of the batch.
        scaled_only: neither turned nor deformed.
        image: (n, channels x slices, *window).
        labels, previous: (n, slices, *window).
        filters: per axis (n, window + margins, window), from voxels to spline coefficients; of patches that are only
            scaled (n, patch, window), from voxels to what is read.
        linear: (n, a, a) rotation and scale.
        centres: (n, a) of the patches, in voxels of the windows.
        sizes: (n, a) of the windows before padding.
        elastics: or None.
    """

    rows: Tensor
    scaled_only: bool
    image: Tensor
    labels: Tensor
    previous: Tensor | None
    filters: tuple[Tensor, ...]
    linear: Tensor
    centres: Tensor
    sizes: Tensor
    elastics: Elastics | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed(_Tensors):
    """A batch on its way to a device.

    Attributes:
        image: float32 (sample, channel, *patch), what lies outside the case 0; patches that move are still to be made.
        labels, previous: (sample, *patch), the same.
        slice_axis: axis along which all slices are moved alike, in their plane; None moves in 3D.
        moving: patches that move: those that are only scaled, and the others; either may be missing.
        augmentations: of every sample.
        gamma_rows, gammas: image channels that get a gamma (sample x channels + channel), and their exponents.
        mirrored: per set of axes the samples that are mirrored along it.
        mirror_bits: the same for a kernel: int32 (sample,), bits 0, 1 and 2 for z, y and x.
    """

    image: Tensor
    labels: Tensor
    previous: Tensor | None
    slice_axis: int | None
    moving: tuple[Moving, ...]
    augmentations: tuple[SampleAugmentation, ...]
    gamma_rows: Tensor
    gammas: Tensor
    mirrored: tuple[tuple[tuple[int, ...], Tensor], ...]
    mirror_bits: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the patches, (z, y, x)."""
        return tuple(self.labels.shape[1:])
