"""The Triton door: instance normalisation and leaky rectifier in six kernels, for either memory order.

An element (sample, voxel, feature) lies at ``sample * step_n + voxel * step_v + feature * step_f``. Sums over voxels
are split over programs; each leaves its part, and a second kernel adds the parts in a fixed order, so that results do
not change from run to run. `nnbox.network.normact` says what is computed, and has the same in ordinary torch.

A kernel's parameters are pointers, sizes and steps: there is nothing they could be bundled in.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnbox.network.pieces import channels_last, rows

FORWARD_TILE_VALUES, BACKWARD_TILE_VALUES = 2048, 4096  # on an H200 each is quicker than the other's
MOST_FEATURES = 64
MOST_SHARES = 512
SHARE_TILES = 4
JOINED = 128
WARPS = 4


@triton.jit
def _moment_parts(
    maps, parts, voxels, features, share_voxels, step_n, step_v, step_f, TV: tl.constexpr, TF: tl.constexpr
):
    """Leave count, mean and sum of squared deviations of one share of the voxels, per feature."""
    share, sample = tl.program_id(0), tl.program_id(1)
    feature = tl.program_id(2) * TF + tl.arange(0, TF)
    known = feature < features
    maps += sample.to(tl.int64) * step_n
    last = tl.minimum((share + 1) * share_voxels, voxels)
    # Sums of what is left after a near mean, in as many places as a tile has: they meet once, at the end.
    begin = share * share_voxels
    voxel = begin + tl.arange(0, TV)
    there = (voxel < last)[:, None] & known[None, :]
    value = tl.load(maps + voxel[:, None] * step_v + feature[None, :] * step_f, mask=there, other=0.0)
    near = tl.sum(value.to(tl.float32), axis=0) / tl.maximum(tl.minimum(last - begin, TV), 1).to(tl.float32)
    plain = tl.zeros((TV, TF), tl.float32)
    square = tl.zeros((TV, TF), tl.float32)
    for first in range(begin, last, TV):
        voxel = first + tl.arange(0, TV)
        there = (voxel < last)[:, None] & known[None, :]
        value = tl.load(maps + voxel[:, None] * step_v + feature[None, :] * step_f, mask=there, other=0.0)
        off = tl.where(there, value.to(tl.float32) - near[None, :], 0.0)
        plain += off
        square += off * off
    count = tl.maximum(last - begin, 0).to(tl.float32) + tl.zeros((TF,), tl.float32)
    shift = tl.sum(plain, axis=0) / tl.maximum(count, 1.0)
    mean = near + shift
    spread = tl.maximum(tl.sum(square, axis=0) - shift * shift * count, 0.0)
    place = parts + ((sample * tl.num_programs(0) + share) * 3) * features + feature
    tl.store(place, count, mask=known)
    tl.store(place + features, mean, mask=known)
    tl.store(place + 2 * features, spread, mask=known)


@triton.jit
def _join_moments(parts, means, inverses, shares, features, epsilon, TS: tl.constexpr, TF: tl.constexpr):
    """Make mean and inverse sd of each map from the parts."""
    sample = tl.program_id(0)
    feature = tl.program_id(1) * TF + tl.arange(0, TF)
    known = feature < features
    parts += sample * shares * 3 * features
    total = tl.zeros((TF,), tl.float32)
    weighted = tl.zeros((TF,), tl.float32)
    for first in range(0, shares, TS):
        share = first + tl.arange(0, TS)
        there = (share < shares)[:, None] & known[None, :]
        place = parts + share[:, None] * (3 * features) + feature[None, :]
        count = tl.load(place, mask=there, other=0.0)
        total += tl.sum(count, axis=0)
        weighted += tl.sum(count * tl.load(place + features, mask=there, other=0.0), axis=0)
    mean = weighted / tl.maximum(total, 1.0)
    spread = tl.zeros((TF,), tl.float32)
    for first in range(0, shares, TS):
        share = first + tl.arange(0, TS)
        there = (share < shares)[:, None] & known[None, :]
        place = parts + share[:, None] * (3 * features) + feature[None, :]
        off = tl.load(place + features, mask=there, other=0.0) - mean[None, :]
        count = tl.load(place, mask=there, other=0.0)
        spread += tl.sum(tl.load(place + 2 * features, mask=there, other=0.0) + count * off * off, axis=0)
    tl.store(means + sample * features + feature, mean, mask=known)
    inverse = 1.0 / tl.sqrt(spread / tl.maximum(total, 1.0) + epsilon)
    tl.store(inverses + sample * features + feature, inverse, mask=known)


@triton.jit
def _apply(
    maps, result, scales, shifts, means, inverses, voxels, features, slope, step_n, step_v, step_f,
    TV: tl.constexpr, TF: tl.constexpr,
):  # fmt: skip
    """Write the normalised, scaled and rectified maps."""
    sample = tl.program_id(1)
    voxel = tl.program_id(0) * TV + tl.arange(0, TV)
    feature = tl.program_id(2) * TF + tl.arange(0, TF)
    known = feature < features
    there = (voxel < voxels)[:, None] & known[None, :]
    at = sample.to(tl.int64) * step_n + voxel[:, None] * step_v + feature[None, :] * step_f
    mean = tl.load(means + sample * features + feature, mask=known, other=0.0)
    inverse = tl.load(inverses + sample * features + feature, mask=known, other=0.0)
    scale = tl.load(scales + feature, mask=known, other=0.0)
    shift = tl.load(shifts + feature, mask=known, other=0.0)
    value = tl.load(maps + at, mask=there, other=0.0).to(tl.float32)
    scaled = (value - mean[None, :]) * inverse[None, :] * scale[None, :] + shift[None, :]
    tl.store(result + at, tl.where(scaled > 0, scaled, scaled * slope).to(result.dtype.element_ty), mask=there)


@triton.jit
def _gradient_parts(
    outer, maps, parts, scales, shifts, means, inverses, voxels, features, share_voxels, slope, step_n, step_v, step_f,
    TV: tl.constexpr, TF: tl.constexpr,
):  # fmt: skip
    """Leave the sums of t and of t z over one share of the voxels, per feature."""
    share, sample = tl.program_id(0), tl.program_id(1)
    feature = tl.program_id(2) * TF + tl.arange(0, TF)
    known = feature < features
    mean = tl.load(means + sample * features + feature, mask=known, other=0.0)
    inverse = tl.load(inverses + sample * features + feature, mask=known, other=0.0)
    scale = tl.load(scales + feature, mask=known, other=0.0)
    shift = tl.load(shifts + feature, mask=known, other=0.0)
    last = tl.minimum((share + 1) * share_voxels, voxels)
    plain = tl.zeros((TV, TF), tl.float32)
    product = tl.zeros((TV, TF), tl.float32)
    for first in range(share * share_voxels, last, TV):
        voxel = first + tl.arange(0, TV)
        there = (voxel < last)[:, None] & known[None, :]
        at = sample.to(tl.int64) * step_n + voxel[:, None] * step_v + feature[None, :] * step_f
        normal = (tl.load(maps + at, mask=there, other=0.0).to(tl.float32) - mean[None, :]) * inverse[None, :]
        passed = tl.load(outer + at, mask=there, other=0.0).to(tl.float32)
        passed = tl.where(normal * scale[None, :] + shift[None, :] > 0, passed, passed * slope)
        plain += passed
        product += passed * normal
    place = parts + ((sample * tl.num_programs(0) + share) * 2) * features + feature
    tl.store(place, tl.sum(plain, axis=0), mask=known)
    tl.store(place + features, tl.sum(product, axis=0), mask=known)


@triton.jit
def _join_sums(parts, sums, shares, features, TS: tl.constexpr, TF: tl.constexpr):
    """Add the parts of both sums."""
    sample = tl.program_id(0)
    feature = tl.program_id(1) * TF + tl.arange(0, TF)
    known = feature < features
    parts += sample * shares * 2 * features
    plain = tl.zeros((TF,), tl.float32)
    product = tl.zeros((TF,), tl.float32)
    for first in range(0, shares, TS):
        share = first + tl.arange(0, TS)
        there = (share < shares)[:, None] & known[None, :]
        place = parts + share[:, None] * (2 * features) + feature[None, :]
        plain += tl.sum(tl.load(place, mask=there, other=0.0), axis=0)
        product += tl.sum(tl.load(place + features, mask=there, other=0.0), axis=0)
    tl.store(sums + sample * 2 * features + feature, plain, mask=known)
    tl.store(sums + (sample * 2 + 1) * features + feature, product, mask=known)


@triton.jit
def _apply_gradient(
    outer, maps, gradient, sums, scales, shifts, means, inverses, voxels, features, slope, step_n, step_v, step_f,
    TV: tl.constexpr, TF: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the maps: scale r (t - mean(t) - z mean(t z))."""
    sample = tl.program_id(1)
    voxel = tl.program_id(0) * TV + tl.arange(0, TV)
    feature = tl.program_id(2) * TF + tl.arange(0, TF)
    known = feature < features
    there = (voxel < voxels)[:, None] & known[None, :]
    at = sample.to(tl.int64) * step_n + voxel[:, None] * step_v + feature[None, :] * step_f
    mean = tl.load(means + sample * features + feature, mask=known, other=0.0)
    inverse = tl.load(inverses + sample * features + feature, mask=known, other=0.0)
    scale = tl.load(scales + feature, mask=known, other=0.0)
    shift = tl.load(shifts + feature, mask=known, other=0.0)
    plain = tl.load(sums + sample * 2 * features + feature, mask=known, other=0.0) / voxels
    product = tl.load(sums + (sample * 2 + 1) * features + feature, mask=known, other=0.0) / voxels
    normal = (tl.load(maps + at, mask=there, other=0.0).to(tl.float32) - mean[None, :]) * inverse[None, :]
    passed = tl.load(outer + at, mask=there, other=0.0).to(tl.float32)
    passed = tl.where(normal * scale[None, :] + shift[None, :] > 0, passed, passed * slope)
    found = (passed - plain[None, :] - normal * product[None, :]) * (inverse * scale)[None, :]
    tl.store(gradient + at, found.to(gradient.dtype.element_ty), mask=there)


def forward(
    maps: Tensor, scale_shift: tuple[Tensor, Tensor], constants: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result, and float32 (batch, features) mean and inverse sd of the maps.

    Args:
        maps: (batch, features, *space), dense in one of the two memory orders.
        scale_shift: float32 (features,) each.
        constants: epsilon of the normalisation and slope of the rectifier.
    """
    cut = _Cut(maps, FORWARD_TILE_VALUES)
    parts = maps.new_empty((cut.samples, cut.shares, 3, cut.features), dtype=torch.float32)
    mean = maps.new_empty((cut.samples, cut.features), dtype=torch.float32)
    inverse_sd = torch.empty_like(mean)
    result = torch.empty_like(maps)
    sizes, tile = (cut.voxels, cut.features), {"TV": cut.tile_voxels, "TF": cut.tile_features, "num_warps": WARPS}
    joined = {"TS": JOINED, "TF": cut.tile_features}
    _moment_parts[cut.share_grid](maps, parts, *sizes, cut.share_voxels, *cut.steps, **tile)
    _join_moments[cut.join_grid](parts, mean, inverse_sd, cut.shares, cut.features, constants[0], **joined)
    _apply[cut.tile_grid](maps, result, *scale_shift, mean, inverse_sd, *sizes, constants[1], *cut.steps, **tile)
    return result, mean, inverse_sd


def backward(
    outer: Tensor, maps: Tensor, scale_shift: tuple[Tensor, Tensor], moments: tuple[Tensor, ...], slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of maps, scale and shift; ``outer`` has the memory order of ``maps``."""
    cut = _Cut(maps, BACKWARD_TILE_VALUES)
    parts = maps.new_empty((cut.samples, cut.shares, 2, cut.features), dtype=torch.float32)
    sums = maps.new_empty((cut.samples, 2, cut.features), dtype=torch.float32)
    gradient = torch.empty_like(maps)
    known = (*scale_shift, *moments)
    sizes, tile = (cut.voxels, cut.features), {"TV": cut.tile_voxels, "TF": cut.tile_features, "num_warps": WARPS}
    joined = {"TS": JOINED, "TF": cut.tile_features}
    _gradient_parts[cut.share_grid](outer, maps, parts, *known, *sizes, cut.share_voxels, slope, *cut.steps, **tile)
    _join_sums[cut.join_grid](parts, sums, cut.shares, cut.features, **joined)
    _apply_gradient[cut.tile_grid](outer, maps, gradient, sums, *known, *sizes, slope, *cut.steps, **tile)
    plain, product = sums.sum(dim=0)
    return gradient, product, plain


class _Cut:
    """How arrays of one shape and memory order are cut into tiles and shares."""

    def __init__(self, maps: Tensor, tile_values: int) -> None:
        view = rows(maps)
        self.samples, self.voxels, self.features = view.shape
        self.steps = view.stride()
        last = channels_last(maps)
        self.tile_features = min(MOST_FEATURES, triton.next_power_of_2(self.features)) if last else 1
        self.tile_voxels = tile_values // self.tile_features
        self.shares = max(1, min(MOST_SHARES, triton.cdiv(self.voxels, self.tile_voxels * SHARE_TILES)))
        self.share_voxels = triton.cdiv(self.voxels, self.shares)
        groups = triton.cdiv(self.features, self.tile_features)
        self.share_grid = (self.shares, self.samples, groups)
        self.join_grid = (self.samples, groups)
        self.tile_grid = (triton.cdiv(self.voxels, self.tile_voxels), self.samples, groups)
