"""The Triton door of `nnbox.training.loss`: its sums in one pass over the logits, its gradient in another.

Sums over voxels are split over programs; each leaves its part, and the parts are added in float64 in a fixed order, so
that results do not change from run to run.

A kernel's parameters are pointers, sizes and steps: there is nothing they could be bundled in.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_VALUES = 2048
SHARE_TILES = 4
MOST_SHARES = 1024


@triton.jit
def _softmax(logits, voxel, inside, step_v, step_f, classes, TC: tl.constexpr):
    """Return values, their softmax, the highest value, the sum of powers, and which entries are there."""
    index = tl.arange(0, TC)
    known = index < classes
    there = inside[:, None] & known[None, :]
    value = tl.load(logits + voxel[:, None] * step_v + index[None, :] * step_f, mask=there, other=0.0).to(tl.float32)
    value = tl.where(known[None, :], value, -float("inf"))
    highest = tl.max(value, axis=1)
    power = tl.exp(value - highest[:, None])
    total = tl.sum(power, axis=1)
    return value, tl.where(there, power / total[:, None], 0.0), highest, total, there


@triton.jit
def _parts(
    logits, labels, parts, voxels, classes, share_voxels, step_n, step_v, step_f, TV: tl.constexpr, TC: tl.constexpr
):
    """Leave of one share of a sample's voxels, per class, Σuv and Σu + Σv, and the sum of cross-entropies."""
    share, sample = tl.program_id(0), tl.program_id(1)
    index = tl.arange(0, TC)
    known = index < classes
    logits += sample.to(tl.int64) * step_n
    labels += sample.to(tl.int64) * voxels
    last = tl.minimum((share + 1) * share_voxels, voxels)
    overlap = tl.zeros((TC,), tl.float32)
    volume = tl.zeros((TC,), tl.float32)
    entropy = tl.zeros((TV,), tl.float32)
    for first in range(share * share_voxels, last, TV):
        voxel = first + tl.arange(0, TV)
        inside = voxel < last
        value, softmax, highest, total, there = _softmax(logits, voxel, inside, step_v, step_f, classes, TC)
        label = tl.maximum(tl.load(labels + voxel, mask=inside, other=0).to(tl.int32), 0)
        own = (index[None, :] == label[:, None]) & there
        chosen = tl.sum(tl.where(own, value, 0.0), axis=1)
        entropy += tl.where(inside, highest + tl.log(total) - chosen, 0.0)
        overlap += tl.sum(tl.where(own, softmax, 0.0), axis=0)
        volume += tl.sum(softmax + tl.where(own, 1.0, 0.0), axis=0)
    place = parts + (sample * tl.num_programs(0) + share) * (2 * classes + 1)
    tl.store(place + index, overlap, mask=known)
    tl.store(place + classes + index, volume, mask=known)
    tl.store(place + 2 * classes, tl.sum(entropy, axis=0))


@triton.jit
def _gradient(
    logits, labels, gradient, at_label, everywhere, outer, voxels, classes, weight, step_n, step_v, step_f,
    TV: tl.constexpr, TC: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the logits; `nnbox.training.loss` says from what."""
    sample = tl.program_id(1)
    voxel = tl.program_id(0) * TV + tl.arange(0, TV)
    inside = voxel < voxels
    index = tl.arange(0, TC)
    known = index < classes
    offset = sample.to(tl.int64) * step_n
    labels += sample.to(tl.int64) * voxels
    _, softmax, _, _, there = _softmax(logits + offset, voxel, inside, step_v, step_f, classes, TC)
    label = tl.maximum(tl.load(labels + voxel, mask=inside, other=0).to(tl.int32), 0)
    own = (index[None, :] == label[:, None]) & there
    steady = tl.load(everywhere + sample * classes + index, mask=known, other=0.0)
    at_own = tl.load(at_label + sample * classes + index, mask=known, other=0.0)
    own_share = tl.sum(tl.where(own, softmax * at_own[None, :], 0.0), axis=1)
    mean = tl.sum(softmax * steady[None, :], axis=1) + own_share
    found = softmax * ((steady + weight)[None, :] - mean[:, None])
    found += tl.where(own, own_share[:, None] - weight, 0.0)
    found *= tl.load(outer)
    at = gradient + offset + voxel[:, None] * step_v + index[None, :] * step_f
    tl.store(at, found.to(gradient.dtype.element_ty), mask=there)


def sums(view: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return float64 cross-entropy (summed), and (samples, classes) Σuv and Σu + Σv.

    Args:
        view: logits (samples, voxels, classes), with any strides.
        labels: integer (samples, voxels), dense; negative counts as 0.
    """
    samples, voxels, classes = view.shape
    tile = _tile(classes)
    shares = max(1, min(MOST_SHARES, triton.cdiv(voxels, tile["TV"] * SHARE_TILES)))
    parts = torch.empty((samples, shares, 2 * classes + 1), device=view.device)
    _parts[(shares, samples)](
        view, labels, parts, voxels, classes, triton.cdiv(voxels, shares), *view.stride(), **tile
    )  # fmt: skip
    total = parts.sum(dim=1, dtype=torch.float64)
    return total[:, -1].sum(), total[:, :classes], total[:, classes:-1]


def write_gradient(
    target: Tensor, view: Tensor, labels: Tensor, coefficients: tuple[Tensor, Tensor], outer: Tensor
) -> None:
    """Write the gradient of the logits into ``target``, of their shape and strides.

    Args:
        target: as ``view``.
        view: logits (samples, voxels, classes).
        labels: integer (samples, voxels), dense.
        coefficients: float32 (samples, classes): at a voxel's own label, and everywhere.
        outer: the loss's own gradient, a scalar.
    """
    samples, voxels, classes = view.shape
    tile = _tile(classes)
    at_label, everywhere = (one.contiguous() for one in coefficients)
    weight = 1.0 / (samples * voxels)
    _gradient[(triton.cdiv(voxels, tile["TV"]), samples)](
        view, labels, target, at_label, everywhere, outer, voxels, classes, weight, *view.stride(), **tile
    )


def _tile(classes: int) -> dict[str, int]:
    width = triton.next_power_of_2(classes)
    return {"TV": max(1, TILE_VALUES // width), "TC": width}
