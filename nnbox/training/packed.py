"""A batch on its way to a device, as records of tensors; made by `nnbox.training.pack`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from nnbox.records.augmentation import SampleAugmentation


@dataclass(frozen=True, slots=True)
class _Tensors:
    """A record of tensors that goes to a device as a whole."""

    def to(self, device: torch.device) -> Self:
        """Return the record with its tensors on a device; pinned ones travel without being waited for."""
        return replace(self, **{field.name: _moved(getattr(self, field.name), device) for field in fields(self)})


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, _Tensors):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(part, device) for part in value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastics(_Tensors):
    """Elastic deformations: which of the moved patches, seeds of the noise, amplitudes, smoothing matrix per axis."""

    rows: Tensor
    seeds: tuple[int, ...]
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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the patches, (z, y, x)."""
        return tuple(self.labels.shape[1:])
