"""What a batch needs for being augmented on a device, gathered by the host: voxels, matrices and drawn numbers.

Patches that stay in place are cut; of those that move the windows they are read from are taken, padded to a common
size. Nothing is computed on voxels here, so that it can run beside the training, in threads. Cases may be mapped
files, or lie on the device already: then the voxels never leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnbox.records.augmentation import SampleAugmentation
from nnbox.training.banded import gaussian_matrix, resampling_matrix, spline_matrix
from nnbox.training.packed import Elastics, Moving, Packed
from nnbox.training.windows import Window, moves, window

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

    def window(self) -> Window:
        """Return the window that the moved patch is read from."""
        start, shape, size = (
            [sizes[axis] for axis in self.axes] for sizes in (self.start, self.shape, self.case.labels.shape)
        )
        return window(self.augmentation, start, shape, size)


def pack(samples: Sequence[Placed], *, label_type: torch.dtype = torch.int16, pinned: bool = False) -> Packed:
    """Gather a batch; all its samples have patches of one shape, moved along the same axes.

    Args:
        samples: what was drawn.
        label_type: of the batch's labels; one byte is enough for 127 of them.
        pinned: put host arrays where a GPU can fetch them from by itself.
    """
    first = samples[0]
    windows = {row: sample.window() for row, sample in enumerate(samples) if moves(sample.augmentation)}
    kinds = [{row: item for row, item in windows.items() if item.scaled_only is scaled} for scaled in (True, False)]
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
    image, labels, previous = _cut(samples, place)
    return Packed(
        image=image,
        labels=labels,
        previous=previous,
        slice_axis=first.slice_axis,
        moving=tuple(_pack_moving(samples, kind, place) for kind in kinds if kind),
        augmentations=tuple(sample.augmentation for sample in samples),
        gamma_rows=place.numbers([row for row, _ in gammas], torch.int64),
        gammas=place.numbers([gamma for _, gamma in gammas], torch.float32),
        mirrored=tuple((axes, place.numbers(rows, torch.int64)) for axes, rows in sorted(mirrored.items())),
    )


class _Place:
    """Where a batch's arrays are made: beside cases that lie on a device, else on the host."""

    def __init__(self, case: CaseVoxels, label_type: torch.dtype, *, pinned: bool) -> None:
        self.label_type = label_type
        on_device = isinstance(case.image, Tensor)
        self._device = case.image.device if isinstance(case.image, Tensor) else torch.device("cpu")
        self._pinned = pinned and not on_device
        self._numbers_pinned = pinned

    def voxels(self, shape: Sequence[int], kind: torch.dtype) -> Tensor:
        """Return an array whose values are still to be written."""
        return torch.empty(tuple(shape), dtype=kind, device=self._device, pin_memory=self._pinned)

    def numbers(self, values: object, kind: torch.dtype) -> Tensor:
        """Return a small host tensor of numbers."""
        found = torch.as_tensor(np.asarray(values)).to(kind)
        return found.pin_memory() if self._numbers_pinned else found


def _put(target: Tensor, at: tuple[slice, ...], source: Voxels) -> None:
    """Copy voxels to the last axes of a target; the rest of it becomes 0."""
    part = target[(slice(None),) * (target.ndim - len(at)) + at]
    if part.numel() < target.numel():
        target.zero_()
    if isinstance(source, Tensor):
        part.copy_(source)
    else:
        part.numpy()[...] = source


def _overlap(start: int, size: int, end: int) -> tuple[slice, slice]:
    """Return which voxels of 0..end the range start..start+size has, and where in the range they lie."""
    first, last = min(max(start, 0), end), min(max(start + size, 0), end)
    return slice(first, last), slice(first - start, last - start)


def _cut(samples: Sequence[Placed], place: _Place) -> tuple[Tensor, Tensor, Tensor | None]:
    """Make the batch's image, labels and previous labels, and cut the patches that stay in place."""
    case, shape, count = samples[0].case, samples[0].shape, len(samples)
    image = place.voxels((count, case.image.shape[0], *shape), torch.float32)
    labels = place.voxels((count, *shape), place.label_type)
    previous = None if case.previous is None else place.voxels((count, *shape), torch.uint8)
    for row, sample in enumerate(samples):
        if moves(sample.augmentation):
            continue
        own = sample.case
        cuts = [_overlap(*extent) for extent in zip(sample.start, sample.shape, own.labels.shape, strict=True)]
        source, target = tuple(cut[0] for cut in cuts), tuple(cut[1] for cut in cuts)
        _put(image[row], target, own.image[(slice(None), *source)])
        _put(labels[row], target, own.labels[source])
        if previous is not None and own.previous is not None:
            _put(previous[row], target, own.previous[source])
    return image, labels, previous


def _pack_moving(samples: Sequence[Placed], kind: dict[int, Window], place: _Place) -> Moving:
    rows, windows = list(kind), list(kind.values())
    one = samples[rows[0]]
    common = tuple(max(sizes) for sizes in zip(*(item.size for item in windows), strict=True))
    slices = 1 if one.slice_axis is None else one.shape[one.slice_axis]
    channels = one.case.image.shape[0]
    image = place.voxels((len(rows), channels, slices, *common), torch.float32)
    labels = place.voxels((len(rows), slices, *common), place.label_type)
    previous = None if one.case.previous is None else place.voxels((len(rows), slices, *common), torch.uint8)
    for index, (row, item) in enumerate(zip(rows, windows, strict=True)):
        case = samples[row].case
        source, inside = _window_cut(samples[row], item)
        target: tuple[slice, ...] = (inside, *(slice(0, size) for size in item.size))
        _put(image[index], target, _slices_first(case.image[(slice(None), *source)], one.slice_axis))
        _put(labels[index], target, _slices_first(case.labels[source], one.slice_axis))
        if previous is not None and case.previous is not None:
            _put(previous[index], target, _slices_first(case.previous[source], one.slice_axis))
    return Moving(
        rows=place.numbers(rows, torch.int64),
        scaled_only=windows[0].scaled_only,
        image=image.flatten(1, 2),
        labels=labels,
        previous=previous,
        filters=tuple(
            place.numbers(_padded([_filter(item, axis, one.shape[one.axes[axis]]) for item in windows]), torch.float32)
            for axis in range(len(common))
        ),
        linear=place.numbers([item.linear for item in windows], torch.float32),
        centres=place.numbers([item.centre for item in windows], torch.float32),
        sizes=place.numbers([item.size for item in windows], torch.float32),
        elastics=_pack_elastics([samples[row] for row in rows], place),
    )


def _window_cut(sample: Placed, item: Window) -> tuple[tuple[slice, ...], slice]:
    """Return the window's voxels in the case, and which of the patch's slices the case has."""
    cut: dict[int, slice] = {
        axis: slice(low, low + size) for axis, low, size in zip(sample.axes, item.low, item.size, strict=True)
    }
    inside = slice(0, 1)
    if sample.slice_axis is not None:
        axis = sample.slice_axis
        cut[axis], inside = _overlap(sample.start[axis], sample.shape[axis], sample.case.labels.shape[axis])
    return tuple(cut[axis] for axis in range(3)), inside


def _slices_first(array: Voxels, slice_axis: int | None) -> Voxels:
    """Return (…, slices, *plane), or (…, 1, z, y, x) where there are none."""
    spatial = array.ndim - 3
    if slice_axis is None:
        return array[(slice(None),) * spatial + (None,)]
    if isinstance(array, Tensor):
        return array.movedim(spatial + slice_axis, spatial)
    return np.moveaxis(array, spatial + slice_axis, spatial)


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


def _pack_elastics(samples: list[Placed], place: _Place) -> Elastics | None:
    drawn = [(row, elastic) for row, item in enumerate(samples) if (elastic := item.augmentation.elastic) is not None]
    if not drawn:
        return None
    sizes = [samples[0].shape[axis] for axis in samples[0].axes]
    return Elastics(
        rows=place.numbers([row for row, _ in drawn], torch.int64),
        seeds=tuple(elastic.noise_seed for _, elastic in drawn),
        alphas=place.numbers([elastic.alpha for _, elastic in drawn], torch.float32),
        smoothing=tuple(
            place.numbers(np.stack([gaussian_matrix(size, elastic.sigma) for _, elastic in drawn]), torch.float32)
            for size in sizes
        ),
    )
