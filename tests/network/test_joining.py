"""Joining by kernels is torch's concatenation, forward and backward; they run in Triton's interpreter here."""

from __future__ import annotations

import pytest
import torch

from nnbox.network.joining import joined
from nnbox.network.pieces import channels_last

# Fewer and more features than a tile is wide, halves of unlike sizes, more rows than a tile.
SHAPES = [((2, 5, 3, 7, 5), 5), ((1, 40, 9, 11), 40), ((2, 3, 41, 23, 13), 6), ((3, 1, 6, 1), 70)]


@pytest.mark.parametrize(("shape", "features"), SHAPES)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("order", ["last", "first"])
def test_values_and_gradients_are_those_of_a_concatenation(shape, features, kind, order):
    random = torch.Generator().manual_seed(0)
    skip, below, outer = (
        torch.randn((shape[0], count, *shape[2:]), generator=random).to(kind)
        for count in (shape[1], features, shape[1] + features)
    )
    results = []
    for kernels in (False, True):
        inputs = [array.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_() for array in (skip, below)]
        found = joined(*inputs, kernels=kernels)
        found.backward(outer if order == "first" else outer.movedim(1, -1).contiguous().movedim(-1, 1))
        results.append((found.detach(), *(array.grad for array in inputs)))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    assert all(channels_last(array) for array in results[1])
    assert results[1][0].dtype == kind


def test_maps_in_planes_are_joined_by_torch():
    planes = torch.randn((2, 3, 4, 4, 4))
    assert torch.equal(joined(planes, planes, kernels=True), torch.cat((planes, planes), dim=1))
