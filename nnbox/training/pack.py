"""What a batch needs for being augmented on a device, gathered by the host: voxels, matrices and drawn numbers.

Patches that stay in place are cut; of those that move the windows they are read from are taken, padded to a common
size. Nothing is computed on voxels here, so that it can run beside the training, in threads. Cases may be mapped
files, or lie on the device already: then the voxels never leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnbox.records.augmentation import SampleAugmentation
from nnbox.training.banded import gaussian_matrix, resampling_matrix, spline_matrix
from nnbox.training.noise_on_device import seed_words
from nnbox.training.packed import Elastics, Moving, Packed
from nnbox.training.windows import Window, moves, windows

Voxels = NDArray[np.generic] | Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVoxels:
    """A case's arrays, mapped or on a device: image (channel, z, y, x), labels and previous labels (z, y, x)."""

    image: Voxels
    labels: Voxels
    previous: Voxels | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One drawn sample: where its patch lies in a case, and what is done to it.

    Attributes:
        case: the arrays.
        start, shape: of the patch, (z, y, x); of a 2D patch the first size is 1.
        slice_axis: axis along which all slices are moved alike, in their plane; None moves in 3D.
        augmentation: what was drawn; its mirror axes are axes of ``shape``.
    """

    case: CaseVoxels
    start: tuple[int, ...]
    shape: tuple[int, ...]
    slice_axis: int | None
    augmentation: SampleAugmentation

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that the patch is moved along."""
        return tuple(axis for axis in range(3) if axis != self.slice_axis)


def pack(samples: Sequence[Placed], *, label_type: torch.dtype = torch.int16, pinned: bool = False) -> Packed:
    """Gather a batch; all its samples have patches of one shape, moved along the same axes.

    Args:
        samples: what was drawn.
        label_type: of the batch's labels; one byte is enough for 127 of them.
        pinned: put voxels on the host where a GPU can fetch them from by itself.
    """
    first = samples[0]
    found = _windows(samples)
    kinds = [{row: item for row, item in found.items() if item.scaled_only is scaled} for scaled in (True, False)]
    place = _Place(first.case, label_type, pinned=pinned)
    channels = first.case.image.shape[0]
    gammas = [
        (row * channels + channel, gamma)
        for row, sample in enumerate(samples)
        for channel, gamma in enumerate(sample.augmentation.gammas)
        if gamma is not None
    ]
    mirrored: dict[tuple[int, ...], list[int]] = {}
    for row, sample in enumerate(samples):
        if sample.augmentation.mirror_axes:
            mirrored.setdefault(sample.augmentation.mirror_axes, []).append(row)
    image, labels, previous = place.gathered(_still(samples), len(samples), first.shape)
    return Packed(
        image=image,
        labels=labels,
        previous=previous,
        slice_axis=first.slice_axis,
        moving=tuple(_pack_moving(samples, kind, place) for kind in kinds if kind),
        augmentations=tuple(sample.augmentation for sample in samples),
        gamma_rows=_numbers([row for row, _ in gammas], np.int64),
        gammas=_numbers([gamma for _, gamma in gammas], np.float32),
        mirrored=tuple((axes, _numbers(rows, np.int64)) for axes, rows in sorted(mirrored.items())),
        mirror_bits=_numbers([sum(1 << axis for axis in item.augmentation.mirror_axes) for item in samples], np.int32),
    )


def _windows(samples: Sequence[Placed]) -> dict[int, Window]:
    """Return the windows that patches are read from, by their row; patches that stay in place have none."""
    moving = {row: sample for row, sample in enumerate(samples) if moves(sample.augmentation)}
    if not moving:
        return {}
    axes = samples[0].axes
    found = windows(
        [sample.augmentation for sample in moving.values()],
        [[sample.start[axis] for axis in axes] for sample in moving.values()],
        [samples[0].shape[axis] for axis in axes],
        [[sample.case.labels.shape[axis] for axis in axes] for sample in moving.values()],
    )
    return dict(zip(moving, found, strict=True))


def _numbers(values: object, kind: type[np.generic]) -> Tensor:
    """Return a small host tensor of numbers; `Packed.to` takes all of them to a device at once."""
    return torch.from_numpy(np.asarray(values, dtype=kind))


@dataclass(frozen=True, slots=True)
class _Part:
    """Voxels of a case and where in a batch they belong.

    Attributes:
        case: the arrays.
        source: (z, y, x).
        row: of the batch.
        target: ranges of the batch's axes; an axis of one slice may be given by an index.
        slice_axis: axis of the case that comes first in the batch; None leaves them in order.
    """

    case: CaseVoxels
    source: tuple[slice, ...]
    row: int
    target: tuple[int | slice, ...]
    slice_axis: int | None = None

    @property
    def voxels(self) -> int:
        """How many."""
        return prod(extent.stop - extent.start for extent in self.source)


class _Place:
    """Where a batch's voxels are gathered: beside cases that lie on a device, else on the host."""

    def __init__(self, case: CaseVoxels, label_type: torch.dtype, *, pinned: bool) -> None:
        self._label_type, self._channels = label_type, case.image.shape[0]
        self._previous = case.previous is not None
        on_device = isinstance(case.image, Tensor)
        self._device = case.image.device if isinstance(case.image, Tensor) else torch.device("cpu")
        self._pinned = pinned and not on_device

    def gathered(
        self, parts: Sequence[_Part], count: int, shape: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return image (count, channel, *shape), labels and previous labels (count, *shape) made of parts.

        In rows with a part what lies outside of it is 0; other rows are still to be written.
        """
        blank = any(part.voxels < prod(shape) for part in parts)
        image = self._array((count, self._channels, *shape), torch.float32, blank=blank)
        labels = self._array((count, *shape), self._label_type, blank=blank)
        previous = self._array((count, *shape), torch.uint8, blank=blank) if self._previous else None
        for part in parts:
            _put(image, (part.row, slice(None), *part.target), part.case.image, part)
            _put(labels, (part.row, *part.target), part.case.labels, part)
            if previous is not None and part.case.previous is not None:
                _put(previous, (part.row, *part.target), part.case.previous, part)
        return image, labels, previous

    def _array(self, shape: tuple[int, ...], kind: torch.dtype, *, blank: bool) -> Tensor:
        """Return an array whose values are still to be written; blanking all of it takes one call."""
        found = torch.empty(shape, dtype=kind, device=self._device, pin_memory=self._pinned)
        return found.zero_() if blank else found


def _put(target: Tensor, at: tuple[int | slice, ...], case: Voxels, part: _Part) -> None:
    """Copy a part of a case's array, whose axes may begin with channels."""
    into, channels = target[at], case.ndim - 3
    source = case[(slice(None),) * channels + part.source]
    if isinstance(source, Tensor):
        into.copy_(source if part.slice_axis is None else source.movedim(channels + part.slice_axis, channels))
    else:
        into.numpy()[...] = (
            source if part.slice_axis is None else np.moveaxis(source, channels + part.slice_axis, channels)
        )


def _overlap(start: int, size: int, end: int) -> tuple[slice, slice]:
    """Return which voxels of 0..end the range start..start+size has, and where in the range they lie."""
    first, last = min(max(start, 0), end), min(max(start + size, 0), end)
    return slice(first, last), slice(first - start, last - start)


def _still(samples: Sequence[Placed]) -> list[_Part]:
    """Return the parts of patches that stay in place."""
    parts = []
    for row, sample in enumerate(samples):
        if not moves(sample.augmentation):
            extents = zip(sample.start, sample.shape, sample.case.labels.shape, strict=True)
            source, target = zip(*(_overlap(*extent) for extent in extents), strict=True)
            parts.append(_Part(sample.case, source, row, target))
    return parts


def _pack_moving(samples: Sequence[Placed], kind: dict[int, Window], place: _Place) -> Moving:
    rows, boxes = list(kind), list(kind.values())
    one = samples[rows[0]]
    common = tuple(max(sizes) for sizes in zip(*(item.size for item in boxes), strict=True))
    slices = 1 if one.slice_axis is None else one.shape[one.slice_axis]
    parts = [_part(samples[row], item, index) for index, (row, item) in enumerate(kind.items())]
    image, labels, previous = place.gathered(parts, len(rows), (slices, *common))
    return Moving(
        rows=_numbers(rows, np.int64),
        scaled_only=boxes[0].scaled_only,
        image=image.flatten(1, 2),
        labels=labels,
        previous=previous,
        filters=tuple(
            _numbers(_padded([_filter(item, axis, one.shape[one.axes[axis]]) for item in boxes]), np.float32)
            for axis in range(len(common))
        ),
        linear=_numbers([item.linear for item in boxes], np.float32),
        centres=_numbers([item.centre for item in boxes], np.float32),
        sizes=_numbers([item.size for item in boxes], np.float32),
        elastics=_pack_elastics([samples[row] for row in rows]),
    )


def _part(sample: Placed, item: Window, row: int) -> _Part:
    """Return the window's voxels in the case, and of its slices those that the case has."""
    cut: dict[int, slice] = {
        axis: slice(low, low + size) for axis, low, size in zip(sample.axes, item.low, item.size, strict=True)
    }
    inside: int | slice = 0
    if sample.slice_axis is not None:
        axis = sample.slice_axis
        cut[axis], inside = _overlap(sample.start[axis], sample.shape[axis], sample.case.labels.shape[axis])
    target = (inside, *(slice(0, size) for size in item.size))
    return _Part(sample.case, tuple(cut[axis] for axis in range(3)), row, target, sample.slice_axis)


def _filter(item: Window, axis: int, size: int) -> NDArray[np.float32]:
    """Return the matrix of one axis; ``size`` is the patch's."""
    if not item.scaled_only:
        return spline_matrix(item.size[axis])
    places = item.centre[axis] + item.linear[axis, axis] * (np.arange(size) - (size - 1) / 2)
    return resampling_matrix(item.size[axis], places)


def _padded(matrices: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    shape = tuple(max(sizes) for sizes in zip(*(matrix.shape for matrix in matrices), strict=True))
    found = np.zeros((len(matrices), *shape), dtype=np.float32)
    for index, matrix in enumerate(matrices):
        found[index, : matrix.shape[0], : matrix.shape[1]] = matrix
    return found


def _pack_elastics(samples: list[Placed]) -> Elastics | None:
    drawn = [(row, elastic) for row, item in enumerate(samples) if (elastic := item.augmentation.elastic) is not None]
    if not drawn:
        return None
    sizes = [samples[0].shape[axis] for axis in samples[0].axes]
    return Elastics(
        rows=_numbers([row for row, _ in drawn], np.int64),
        seeds=tuple(elastic.noise_seed for _, elastic in drawn),
        seed_words=_numbers([seed_words(elastic.noise_seed) for _, elastic in drawn], np.int32),
        alphas=_numbers([elastic.alpha for _, elastic in drawn], np.float32),
        smoothing=tuple(
            _numbers(np.stack([gaussian_matrix(size, elastic.sigma) for _, elastic in drawn]), np.float32)
            for size in sizes
        ),
    )
