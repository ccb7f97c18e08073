"""Triton kernels that read volumes between voxels: what `read_moved` does with torch calls, in one launch for each.

A program reads some points of one channel of one sample. Points outside are not read at all; they stand for 0. Nothing
is asked of the device. `nnbox.training.interpolate` says what is computed, and has the same in ordinary torch.

A kernel's parameters are pointers, sizes and steps: there is nothing they could be bundled in. Sizes differ from batch
to batch; a kernel is compiled once for all of them.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nnbox.training.banded import MARGIN

TILE_POINTS = 256
_CHANGING = ["voxels", "points", "plane", "line", "origin"]


@triton.jit
def _along(places, sizes, point, points, known, AXIS: tl.constexpr):
    """Return the voxel below each point on one axis, the distance to it, and whether the point is inside."""
    place = tl.load(places + AXIS * points + point, mask=known, other=-1.0)
    last = tl.load(sizes + AXIS) - 1.0
    within = tl.where(place >= 0.0, tl.minimum(place, last), 0.0)  # also of what is no number
    low = within.to(tl.int32)
    return low, within - low.to(tl.float32), within == place


@triton.jit
def _around(places, sizes, points, plane, line, origin, AXES: tl.constexpr, TILE: tl.constexpr):
    """Return a program's points: number, whether there is such a point, voxel in memory, inside or not, distances.

    The distances are those on the third-last, second-last and last axis; of two axes the first stands for nothing.
    """
    point = tl.program_id(0) * TILE + tl.arange(0, TILE)
    known = point < points
    places += tl.program_id(2).to(tl.int64) * AXES * points
    sizes += tl.program_id(2) * AXES
    low, third, inside = _along(places, sizes, point, points, known, AXES - 1)
    base = origin + low
    low, second, within = _along(places, sizes, point, points, known, AXES - 2)
    base += low * line
    inside = inside & within
    first = third
    if AXES == 3:
        low, first, within = _along(places, sizes, point, points, known, 0)
        base += low * plane
        inside = inside & within
    return point, known, base, inside & known, first, second, third


@triton.jit
def _channel():
    """Return the number of the program's channel among those of all samples."""
    return tl.program_id(2).to(tl.int64) * tl.num_programs(1) + tl.program_id(1)


@triton.jit
def _end(part):
    """Return the weight of the coefficient at the end that ``part`` leads away from."""
    return part * part * part * (1.0 / 6.0)


@triton.jit
def _middle(part):
    """Return the weight of the coefficient below a point."""
    return _end(part) * 3.0 - part * part + (2.0 / 3.0)


@triton.jit
def _weight(part, TAP: tl.constexpr):
    """Return the weight of one of the four coefficients around a point."""
    if TAP == 0:
        weight = _end(1.0 - part)
    elif TAP == 1:
        weight = _middle(part)
    elif TAP == 2:
        weight = 1.0 - _end(1.0 - part) - _middle(part) - _end(part)
    else:
        weight = _end(part)
    return weight


@triton.jit
def _line_sum(images, first, inside, part):
    """Add up the four coefficients from ``first`` on."""
    total = _weight(part, 0) * tl.load(images + first, mask=inside, other=0.0)
    for tap in tl.static_range(1, 4):
        total += _weight(part, tap) * tl.load(images + first + tap, mask=inside, other=0.0)
    return total


@triton.jit
def _plane_sum(images, first, inside, line, part, last_part):
    """Add up the four lines from ``first`` on."""
    total = _weight(part, 0) * _line_sum(images, first, inside, last_part)
    for tap in tl.static_range(1, 4):
        total += _weight(part, tap) * _line_sum(images, first + tap * line, inside, last_part)
    return total


@triton.jit(do_not_specialize=_CHANGING)
def _sum_up(
    images, results, places, sizes, voxels, points, plane, line, origin, AXES: tl.constexpr, TILE: tl.constexpr
):
    """Write the sums over the 4^axes coefficients around points, axis within axis."""
    point, known, base, inside, first, second, third = _around(places, sizes, points, plane, line, origin, AXES, TILE)
    images += _channel() * voxels
    base -= line + 1
    if AXES == 3:
        base -= plane
        total = _weight(first, 0) * _plane_sum(images, base, inside, line, second, third)
        for tap in tl.static_range(1, 4):
            total += _weight(first, tap) * _plane_sum(images, base + tap * plane, inside, line, second, third)
    else:
        total = _plane_sum(images, base, inside, line, second, third)
    tl.store(results + _channel() * points + point, total, mask=known)


@triton.jit
def _side(part, END: tl.constexpr):
    """Return the linear weight of one end of a cell."""
    return part if END == 1 else 1.0 - part


@triton.jit
def _share(first, second, third, CORNER: tl.constexpr, AXES: tl.constexpr):
    """Return the linear weight of a corner; the last axis changes from each corner to the next."""
    if AXES == 3:
        share = _side(first, CORNER // 4) * _side(second, CORNER // 2 % 2) * _side(third, CORNER % 2)
    else:
        share = _side(second, CORNER // 2) * _side(third, CORNER % 2)
    return share


@triton.jit
def _label(labels, base, inside, plane, line, CORNER: tl.constexpr):
    """Return the label of a corner; loading it again costs nothing, the compiler keeps what was loaded."""
    offset = (CORNER // 4) * plane + (CORNER // 2 % 2) * line + CORNER % 2
    return tl.load(labels + base + offset, mask=inside, other=0)


@triton.jit(do_not_specialize=_CHANGING)
def _vote(labels, results, places, sizes, voxels, points, plane, line, origin, AXES: tl.constexpr, TILE: tl.constexpr):
    """Write the labels with the largest shares of the 2^axes corners around points; of equal ones the first."""
    point, known, base, inside, first, second, third = _around(places, sizes, points, plane, line, origin, AXES, TILE)
    labels += _channel() * voxels
    found = _label(labels, base, inside, plane, line, 0)
    best = tl.full((TILE,), -1.0, tl.float32)
    for one in tl.static_range(1 << AXES):
        own = _label(labels, base, inside, plane, line, one)
        total = _share(first, second, third, one, AXES)
        for other in tl.static_range(1 << AXES):
            if other != one:
                equal = _label(labels, base, inside, plane, line, other) == own
                total += tl.where(equal, _share(first, second, third, other, AXES), 0.0)
        found = tl.where(total > best, own, found)
        best = tl.maximum(total, best)
    tl.store(results + _channel() * points + point, found, mask=known)


def read_moved_by_kernels(
    images: Tensor, labels: tuple[Tensor, ...], places: Tensor, sizes: Tensor
) -> tuple[Tensor, ...]:
    """Read images and label maps at the same places; see `nnbox.training.interpolate.read_moved`.

    Images differ by rounding from those that torch's calls read; labels do not differ.
    """
    where = places.contiguous(), sizes.contiguous()
    return _read(_sum_up, images, where, exact=False), *(_read(_vote, item, where, exact=True) for item in labels)


def _read(kernel, volumes: Tensor, where: tuple[Tensor, Tensor], *, exact: bool) -> Tensor:
    """Read volumes (batch, channels, *space); ``exact`` rounds products before they are added, as torch does."""
    (samples, channels, *space), (_, axes, points) = volumes.shape, where[0].shape
    result = volumes.new_empty((samples, channels, points))
    if not result.numel():
        return result
    line = space[-1]
    plane = space[-2] * line
    origin = MARGIN * (1 + line + (plane if axes == 3 else 0))
    sizes = (volumes[0, 0].numel(), points, plane, line, origin)
    kernel[triton.cdiv(points, TILE_POINTS), channels, samples](
        volumes.contiguous(), result, *where, *sizes, AXES=axes, TILE=TILE_POINTS, enable_fp_fusion=not exact
    )
    return result
