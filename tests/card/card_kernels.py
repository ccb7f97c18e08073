"""Compiled kernels, and the loss, on the card: against torch's own operations in float64 on the CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from nnbox.network.joining import joined
from nnbox.network.normact import normalized_rectified
from nnbox.network.pieces import channels_last
from nnbox.network.stem import convolved
from nnbox.network.trial import kernels_refused
from nnbox.records.engine import NormKind
from nnbox.records.precision import Precision
from nnbox.training.loss import segmentation_loss

CONSTANTS = (1e-5, 0.01)
# Odd sizes; fewer and more features than a tile; more voxels than a share; as large as a real map.
SHAPES = [(2, 5, 3, 7, 5), (1, 70, 9, 11), (3, 1, 6, 1), (2, 17, 31, 29), (2, 320, 4, 4, 4), (2, 32, 96, 64, 80)]
TOLERANCES = {torch.float32: 3e-5, torch.bfloat16: 1.2e-2, torch.float16: 1.5e-3}


def plain(maps, scale, shift):
    return F.leaky_relu(F.instance_norm(maps, weight=scale, bias=shift, eps=CONSTANTS[0]), CONSTANTS[1])


def differentiated(arrays, outer, how):
    inputs = [array.detach().clone().requires_grad_() for array in arrays]
    result = how(*inputs)
    result.backward(outer.to(result.dtype))
    return result.detach(), *(array.grad for array in inputs)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("kind", list(TOLERANCES))
@pytest.mark.parametrize("norm_kind", [NormKind.TWIN, NormKind.TRITON])
def test_value_and_gradients_are_those_of_the_two_operations(card, shape, order, kind, norm_kind):
    random = torch.Generator().manual_seed(sum(shape))
    maps = (3 * torch.randn(shape, generator=random) + 5).to(kind)
    outer = torch.randn(shape, generator=random).to(kind)
    scale, shift = 0.5 + torch.rand(shape[1], generator=random), torch.randn(shape[1], generator=random)
    wide = [array.double() for array in (maps, scale, shift)]
    near_the_kink = F.instance_norm(wide[0], weight=wide[1], bias=wide[2], eps=CONSTANTS[0]).abs() < 1e-3
    outer = outer.masked_fill(near_the_kink, 0.0)
    expected = differentiated(wide, outer.double(), plain)
    there = [array.to(card) for array in (maps, outer)]
    if order == "last":
        there = [array.movedim(1, -1).contiguous().movedim(-1, 1) for array in there]
    found = differentiated(
        (there[0], scale.to(card), shift.to(card)),
        there[1],
        lambda maps, *rest: normalized_rectified(maps, rest, CONSTANTS, norm_kind),
    )
    assert channels_last(found[0]) == channels_last(there[0])
    for mine, wanted in zip(found, expected, strict=True):
        largest = max(float(wanted.abs().max()), 1.0)
        assert float((mine.cpu().double() - wanted).abs().max()) <= TOLERANCES[kind] * largest


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BF16, Precision.FP16])
def test_the_kernels_run_here_in_every_precision(precision):
    assert kernels_refused("cuda:0", precision) is None


@pytest.mark.parametrize("classes", [2, 3, 15])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("kernels", [False, True])
def test_the_loss_and_its_gradient_are_the_plain_formulas(card, classes, batch_dice, kernels):
    random = torch.Generator().manual_seed(classes)
    logits = 3 * torch.randn((2, classes, 9, 10, 11), generator=random, dtype=torch.float64)
    labels = torch.randint(-1, classes, (2, 9, 10, 11), generator=random)

    def formula(values):
        index = labels.clamp(min=0)
        share = torch.softmax(values, dim=1).flatten(2)
        reference = F.one_hot(index, classes).movedim(-1, 1).double().flatten(2)
        axes = (0, 2) if batch_dice else (2,)
        overlap, volume = (share * reference).sum(axes), share.sum(axes) + reference.sum(axes)
        dice = (2 * overlap + 1e-5) / (volume + 1e-5)
        return F.cross_entropy(values, index) - dice[..., 1:].mean()

    expected, wanted = differentiated((logits,), torch.tensor(1.0), formula)
    there = labels.to(card, torch.int16)
    loss, gradient = differentiated(
        (logits.float().to(card),),
        torch.tensor(1.0, device=card),
        lambda x: segmentation_loss(x, there, batch_dice=batch_dice, kernels=kernels),
    )
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)
    torch.testing.assert_close(gradient.cpu().double(), wanted, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 5, 3, 7, 5), (1, 40, 9, 11), (2, 32, 64, 48, 40)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_joining_is_concatenation(card, shape, kind):
    skip, below = (torch.randn(shape, device=card).to(kind) for _ in range(2))
    outer = torch.randn((shape[0], 2 * shape[1], *shape[2:]), device=card).to(kind)
    results = []
    for kernels in (False, True):
        inputs = [array.movedim(1, -1).contiguous().movedim(-1, 1).requires_grad_() for array in (skip, below)]
        found = joined(*inputs, kernels=kernels)
        found.backward(outer)
        results.append((found.detach(), *(array.grad for array in inputs)))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("shape", "features"), [((2, 1, 9, 10, 11), 6), ((1, 4, 6, 9, 11), 32), ((2, 1, 64, 48, 40), 32)]
)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_the_first_convolution_is_torchs(card, shape, features, kind):
    random = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=random).to(kind)
    weight = torch.randn((features, shape[1], 3, 3, 3), generator=random).to(kind).float()
    outer = torch.randn((shape[0], features, *shape[2:]), generator=random).to(kind)
    wanted = differentiated((weight.double(),), outer.double(), lambda w: F.conv3d(image.double(), w, None, 1, 1))
    found = differentiated((weight.to(card),), outer.to(card), lambda w: convolved(image.to(card), w))
    for one, other, part in zip(found, wanted, (2**-8 if kind is torch.bfloat16 else 2**-11, 1e-5), strict=True):
        assert float((one.cpu().double() - other).abs().max()) <= part * float(other.abs().max())
