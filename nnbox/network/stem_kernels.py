"""The Triton door of `nnbox.network.stem`: a convolution of few channels, read tap by tap and multiplied as a matrix.

A tile of voxels by (channel, tap) is gathered from the image, and its product with the weights is the tile's result.
The weights' gradient is the product of the same tile with the outer gradient: each program leaves its part, and the
parts are added in a fixed order. Products are of 16 bits, sums float32.

A kernel's parameters are pointers and sizes: there is nothing they could be bundled in.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_VOXELS, WIDE_TILE_VOXELS = 128, 64
WIDE_TAPS = 128  # a tile of so many taps is shorter, or it would not fit into the shared memory of older cards
MOST_SHARES = 512
SHARE_TILES = 4
SMALLEST = 16  # sizes of a matrix product


@triton.jit
def _taps(
    image, voxel, last, depth, height, width, voxels, channels,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, TK: tl.constexpr,
):  # fmt: skip
    """Return (voxels, TK): what each voxel's taps read, channel after channel; 0 beyond the image."""
    tap = tl.arange(0, TK)
    channel = tap // (KZ * KY * KX)
    dz = (tap // (KY * KX)) % KZ - KZ // 2
    dy = (tap // KX) % KY - KY // 2
    dx = tap % KX - KX // 2
    z = (voxel // (height * width))[:, None] + dz[None, :]
    y = ((voxel // width) % height)[:, None] + dy[None, :]
    x = (voxel % width)[:, None] + dx[None, :]
    there = (voxel < last)[:, None] & (channel < channels)[None, :]
    there = there & (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = (channel * voxels + (dz * height + dy) * width + dx)[None, :] + voxel[:, None]
    return tl.load(image + at, mask=there, other=0.0)


@triton.jit
def _convolve(
    image, weights, result, depth, height, width, voxels, channels, features,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, TV: tl.constexpr, TK: tl.constexpr, TF: tl.constexpr,
):  # fmt: skip
    """Write the result of a tile of voxels; weights are (TK, TF), zeros beyond what there is."""
    sample = tl.program_id(1).to(tl.int64)
    voxel = tl.program_id(0) * TV + tl.arange(0, TV)
    image += sample * channels * voxels
    read = _taps(image, voxel, voxels, depth, height, width, voxels, channels, KZ, KY, KX, TK)
    feature = tl.arange(0, TF)
    matrix = tl.load(weights + tl.arange(0, TK)[:, None] * TF + feature[None, :])
    found = tl.dot(read.to(tl.float32), matrix.to(tl.float32))  # TF32 holds every digit of 16 bits
    at = result + sample * voxels * features + voxel[:, None] * features + feature[None, :]
    there = (voxel < voxels)[:, None] & (feature < features)[None, :]
    tl.store(at, found.to(result.dtype.element_ty), mask=there)


@triton.jit
def _weight_parts(
    image, outer, parts, depth, height, width, voxels, channels, features, share_voxels,
    KZ: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, TV: tl.constexpr, TK: tl.constexpr, TF: tl.constexpr,
):  # fmt: skip
    """Leave (TK, TF), one share's part of the gradient of the weights."""
    share, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    image += sample * channels * voxels
    outer += sample * voxels * features
    last = tl.minimum((share + 1) * share_voxels, voxels)
    feature = tl.arange(0, TF)
    total = tl.zeros((TK, TF), tl.float32)
    for first in range(share * share_voxels, last, TV):
        voxel = first + tl.arange(0, TV)
        read = _taps(image, voxel, last, depth, height, width, voxels, channels, KZ, KY, KX, TK)
        there = (voxel < last)[:, None] & (feature < features)[None, :]
        own = tl.load(outer + voxel[:, None] * features + feature[None, :], mask=there, other=0.0)
        total += tl.dot(tl.trans(read.to(tl.float32)), own.to(tl.float32))
    place = parts + (sample * tl.num_programs(0) + share) * (TK * TF)
    tl.store(place + tl.arange(0, TK)[:, None] * TF + feature[None, :], total)


def convolve(image: Tensor, weight: Tensor) -> Tensor:
    """Return (batch, features, *space), features side by side in memory, of the image's 16-bit type.

    Args:
        image: (batch, channels, *space), 2 or 3 axes, dense in planes.
        weight: (features, channels, *kernel), odd sizes.
    """
    cut = _Cut(image, weight)
    matrix = image.new_zeros((cut.tile["TK"], cut.tile["TF"]))
    matrix[: cut.taps, : cut.features] = weight.flatten(1).t()
    shape = (image.shape[0], *image.shape[2:], cut.features)
    result = image.new_empty(shape)
    grid = (triton.cdiv(cut.voxels, cut.tile["TV"]), image.shape[0])
    _convolve[grid](image, matrix, result, *cut.sizes, cut.features, **cut.tile)
    return result.movedim(-1, 1)


def weight_gradient(outer: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """Return the float32 gradient of the weights; ``outer`` has its features side by side in memory."""
    cut = _Cut(image, weight)
    shares = max(1, min(MOST_SHARES, triton.cdiv(cut.voxels, cut.tile["TV"] * SHARE_TILES)))
    parts = torch.empty((image.shape[0] * shares, cut.tile["TK"], cut.tile["TF"]), device=image.device)
    share_voxels = triton.cdiv(cut.voxels, shares)
    _weight_parts[(shares, image.shape[0])](
        image, outer, parts, *cut.sizes, cut.features, share_voxels, **cut.tile
    )  # fmt: skip
    total = parts.sum(dim=0)[: cut.taps, : cut.features]
    return total.t().reshape(weight.shape)


class _Cut:
    """Sizes of an image and its convolution, and how they are cut into tiles."""

    def __init__(self, image: Tensor, weight: Tensor) -> None:
        channels, space = image.shape[1], (1, *image.shape[2:])[-3:]
        kernel = (1, *weight.shape[2:])[-3:]
        self.features, self.taps, self.voxels = weight.shape[0], weight[0].numel(), math.prod(space)
        self.sizes = (*space, self.voxels, channels)
        width = max(SMALLEST, triton.next_power_of_2(self.taps))
        self.tile = dict(zip(("KZ", "KY", "KX"), kernel, strict=True)) | {
            "TV": WIDE_TILE_VOXELS if width >= WIDE_TAPS else TILE_VOXELS,
            "TK": width,
            "TF": max(SMALLEST, triton.next_power_of_2(self.features)),
        }
