"""A Triton kernel that mirrors every sample of a batch along axes of its own, in one launch.

A kernel's parameters are pointers and sizes: there is nothing they could be bundled in.
"""

# mypy: disable-error-code="no-untyped-call,untyped-decorator,no-untyped-def"
# ruff: noqa: ANN001, ANN202, N803
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_VOXELS = 1024


@triton.jit
def _mirror(array, result, axes, voxels, depth, height, width, TILE: tl.constexpr):
    """Copy one channel's voxels to where they belong; bit k of a sample's number is axis k."""
    sample = tl.program_id(2)
    chosen = tl.load(axes + sample)
    voxel = tl.program_id(0) * TILE + tl.arange(0, TILE)
    known = voxel < voxels
    z, y, x = voxel // (height * width), (voxel // width) % height, voxel % width
    z = tl.where((chosen & 1) != 0, depth - 1 - z, z)
    y = tl.where((chosen & 2) != 0, height - 1 - y, y)
    x = tl.where((chosen & 4) != 0, width - 1 - x, x)
    channel = (sample.to(tl.int64) * tl.num_programs(1) + tl.program_id(1)) * voxels
    value = tl.load(array + channel + (z * height + y) * width + x, mask=known, other=0)
    tl.store(result + channel + voxel, value, mask=known)


def mirrored_by_kernel(array: Tensor, axes: Tensor) -> Tensor:
    """Return (sample, …, z, y, x) mirrored.

    Args:
        array: of any type.
        axes: int32 (sample,): bits 0, 1 and 2 stand for z, y and x.
    """
    dense = array.contiguous()
    result = torch.empty_like(dense)
    samples, (depth, height, width) = len(dense), dense.shape[-3:]
    voxels = depth * height * width
    grid = (triton.cdiv(voxels, TILE_VOXELS), max(1, dense.numel() // (samples * voxels)), samples)
    source, target = (item.view(torch.uint8) if item.dtype == torch.bool else item for item in (dense, result))
    _mirror[grid](source, target, axes, voxels, depth, height, width, TILE=TILE_VOXELS)
    return result
