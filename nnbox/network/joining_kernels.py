"""The Triton door of `nnbox.network.joining`: rows of features laid side by side, and taken apart.

A kernel's parameters are pointers and sizes: there is nothing they could be bundled in.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_VALUES = 4096
MOST_FEATURES = 64


@triton.jit
def _join(first, second, result, count, first_features, features, TV: tl.constexpr, TF: tl.constexpr):
    """Copy rows of both into rows of the result."""
    row = (tl.program_id(0).to(tl.int64) * TV + tl.arange(0, TV))[:, None]
    feature = (tl.program_id(1) * TF + tl.arange(0, TF))[None, :]
    there = (row < count) & (feature < features)
    own = there & (feature < first_features)
    rest = there & (feature >= first_features)
    second_features = features - first_features
    one = tl.load(first + row * first_features + feature, mask=own, other=0.0)
    other = tl.load(second + row * second_features + (feature - first_features), mask=rest, other=0.0)
    tl.store(result + row * features + feature, tl.where(feature < first_features, one, other), mask=there)


@triton.jit
def _split(joined, first, second, count, first_features, features, TV: tl.constexpr, TF: tl.constexpr):
    """Copy rows into rows of two arrays."""
    row = (tl.program_id(0).to(tl.int64) * TV + tl.arange(0, TV))[:, None]
    feature = (tl.program_id(1) * TF + tl.arange(0, TF))[None, :]
    there = (row < count) & (feature < features)
    second_features = features - first_features
    value = tl.load(joined + row * features + feature, mask=there, other=0.0)
    tl.store(first + row * first_features + feature, value, mask=there & (feature < first_features))
    at = second + row * second_features + (feature - first_features)
    tl.store(at, value, mask=there & (feature >= first_features))


def join(first: Tensor, second: Tensor) -> Tensor:
    """Return both as (batch, features of both, *space), features side by side in memory, as in the arguments."""
    features = first.shape[1] + second.shape[1]
    result = _empty(first, features)
    grid, tile = _cut(result)
    _join[grid](first, second, result, result.numel() // features, first.shape[1], features, **tile)
    return result


def split(joined: Tensor, features: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the first and the last features of an array in either memory order, each as an array of its own."""
    joined = joined.movedim(1, -1).contiguous().movedim(-1, 1)
    first, second = (_empty(joined, count) for count in features)
    grid, tile = _cut(joined)
    _split[grid](joined, first, second, joined.numel() // sum(features), features[0], sum(features), **tile)
    return first, second


def _empty(like: Tensor, features: int) -> Tensor:
    shape = (like.shape[0], *like.shape[2:], features)
    return torch.empty(shape, dtype=like.dtype, device=like.device).movedim(-1, 1)


def _cut(maps: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the grid and the tile of a launch over the rows of maps."""
    features = maps.shape[1]
    width = min(MOST_FEATURES, triton.next_power_of_2(features))
    height = TILE_VALUES // width
    grid = (triton.cdiv(maps.numel() // features, height), triton.cdiv(features, width))
    return grid, {"TV": height, "TF": width}
