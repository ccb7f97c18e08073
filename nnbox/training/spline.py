"""Cubic B-spline coefficients of volumes, with mirrored margins: the filter before `nnbox.training.interpolate`."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from nnbox.training.banded import MARGIN
from nnbox.training.interpolate import multiply_axes

POLE = math.sqrt(3.0) - 2.0
GAIN = 6.0
HORIZON = 14  # voxels after which the recursion's start no longer matters in float32: 0.27^14 < 2e-8


def spline_coefficients(volumes: Tensor, filters: tuple[Tensor, ...], sizes: Tensor) -> Tensor:
    """Return float32 (batch, channels, *space with margins); as scipy's ``spline_filter(mode="mirror")``.

    A device multiplies with matrices. A CPU does so on the last axis alone; on the others the filter's recursion, plane
    after plane, is quicker.

    Args:
        volumes: float32 (batch, channels, *space), each filled from the first voxel on up to its own size.
        filters: per axis (batch, space + margins, space), see `nnbox.training.banded.spline_matrix`.
        sizes: (batch, axes) of the volumes.
    """
    if volumes.device.type != "cpu":
        return multiply_axes(volumes, filters)
    result = volumes.new_zeros((*volumes.shape[:2], *(size + 2 * MARGIN for size in volumes.shape[2:])))
    for image, own, target, shape in zip(volumes, filters[-1], result, sizes.int().tolist(), strict=True):
        *others, last = shape
        within = (slice(None), *(slice(MARGIN, MARGIN + size) for size in others), slice(last + 2 * MARGIN))
        source = image[(slice(None), *map(slice, shape))]
        recursed = [axis for axis, size in enumerate(others, start=1) if size > 1]
        inner = target[within]
        matrix = own[: last + 2 * MARGIN, :last].t() * (-POLE * GAIN) ** len(recursed)
        for plane in itertools.product(*map(range, source.shape[:-2])):  # into their places: nothing is copied
            torch.mm(source[plane], matrix, out=inner[plane])
        for axis in recursed:
            _filter(inner, axis)
        for axis, size in enumerate(others, start=1):
            _mirror(target, axis, size)
    return result


def _filter(volume: Tensor, axis: int) -> None:
    """Filter along an axis in place: once forth and once back.

    Without the gain, and without the factor of the way back, which `spline_coefficients` multiplies with beforehand.
    """
    planes = volume.unbind(axis)
    count = len(planes)
    start = planes[0].clone()
    if count > HORIZON:
        for power, plane in enumerate(planes[1:HORIZON], start=1):
            start.add_(plane, alpha=POLE**power)
    else:
        period = 2 * count - 2
        for power, plane in enumerate(planes[1:-1], start=1):
            start.add_(plane, alpha=POLE**power + POLE ** (period - power))
        start.add_(planes[-1], alpha=POLE ** (count - 1)).div_(1 - POLE**period)
    planes[0].copy_(start)
    for before, plane in itertools.pairwise(planes):
        plane.add_(before, alpha=POLE)
    planes[-1].add_(planes[-2], alpha=POLE).div_(1 - POLE * POLE)
    for plane, after in zip(planes[-2::-1], planes[:0:-1], strict=True):
        plane.add_(after, alpha=POLE)


def _mirror(volume: Tensor, axis: int, size: int) -> None:
    """Fill the margins of an axis, of which the first ``size`` voxels after the first margin are known."""
    planes = volume.unbind(axis)
    for distance in range(1, MARGIN + 1):
        for end, inwards in ((0, 1), (size - 1, -1)):
            away = _reflected(end + inwards * distance, size)
            planes[MARGIN + end - inwards * distance].copy_(planes[MARGIN + away])


def _reflected(place: int, size: int) -> int:
    if size == 1:
        return 0
    place %= 2 * size - 2
    return min(place, 2 * size - 2 - place)
