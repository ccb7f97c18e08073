"""One operation, three ways to compute it: torch's own two operations are the reference, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from nnbox.network import normact
from nnbox.network.normact import normalized_rectified
from nnbox.network.pieces import channels_last
from nnbox.network.unet import build_network, choose_norm_kind
from nnbox.records.engine import NormKind
from nnbox.records.plan import Topology

CONSTANTS = (1e-5, 0.01)
# TRITON runs in Triton's interpreter here (see tests/conftest.py).
# Odd sizes, fewer and more features than a tile, more voxels than a piece and than a share of voxels.
SHAPES = [(2, 5, 3, 7, 5), (1, 70, 9, 11), (2, 3, 41, 23, 13), (3, 1, 6, 1), (2, 17, 31, 29)]
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 1.2e-2, torch.float16: 1.5e-3}


def _arrays(shape, kind, order):
    random = torch.Generator().manual_seed(sum(shape))
    maps = (3 * torch.randn(shape, generator=random) + 5).to(kind)
    outer = torch.randn(shape, generator=random).to(kind)
    if order == "last":
        maps, outer = (array.movedim(1, -1).contiguous().movedim(-1, 1) for array in (maps, outer))
    scale = 0.5 + torch.rand(shape[1], generator=random)
    shift = torch.randn(shape[1], generator=random)
    # Away from the kink, where rounding would decide which derivative is taken.
    reference = F.instance_norm(maps.double(), weight=scale.double(), bias=shift.double(), eps=CONSTANTS[0])
    near = reference.abs() < 1e-3
    return maps, outer.masked_fill(near, 0.0), scale, shift


def _run(arrays, how):
    maps, outer, scale, shift = arrays
    inputs = [array.detach().clone().requires_grad_() for array in (maps, scale, shift)]
    result = how(*inputs)
    result.backward(outer.to(result.dtype))
    return result.detach(), *(array.grad for array in inputs)


def _reference(arrays):
    maps, outer, scale, shift = (array.double() for array in arrays)

    def plain(maps, scale, shift):
        return F.leaky_relu(F.instance_norm(maps, weight=scale, bias=shift, eps=CONSTANTS[0]), CONSTANTS[1])

    return _run((maps, outer, scale, shift), plain)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm_kind", [NormKind.TWIN, NormKind.TRITON])
def test_value_and_gradients_are_those_of_the_two_operations(shape, order, kind, norm_kind):
    arrays = _arrays(shape, kind, order)
    found = _run(arrays, lambda maps, *rest: normalized_rectified(maps, rest, CONSTANTS, norm_kind))
    assert found[0].dtype == found[1].dtype == kind
    assert channels_last(found[0]) == channels_last(arrays[0])
    for mine, wanted in zip(found, _reference(arrays), strict=True):
        scale = max(float(wanted.abs().max()), 1.0)
        assert float((mine.double() - wanted).abs().max()) <= TOLERANCES[kind] * scale


@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_the_twin_on_a_gpu_sums_by_itself_in_either_memory_order(order, kind, monkeypatch):
    """The calls that a GPU gets, made on the CPU, with a sample as one piece."""
    monkeypatch.setattr("nnbox.network.pieces.PIECE_VALUES", 1 << 40)
    maps, _, scale, shift = arrays = _arrays((2, 5, 9, 7, 5), kind, order)
    result, mean, inverse_sd = normact._forward_in_pieces(maps, scale, shift, CONSTANTS)
    wanted = _reference(arrays)[0]
    assert float((result.double() - wanted).abs().max()) <= TOLERANCES[kind] * float(wanted.abs().max())
    assert result.dtype == kind
    assert mean.dtype == inverse_sd.dtype == torch.float32


@pytest.mark.parametrize("order", ["last", "first"])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_twin_asks_no_device_but_a_cpu_for_group_normalisation(order, kind, monkeypatch):
    """On CUDA it refuses channels-last maps, and 16 bit maps with float32 scale and shift."""

    def refused(*_arguments):
        raise RuntimeError("memory format")

    monkeypatch.setattr(torch, "native_group_norm", refused)
    maps, outer, scale, shift = (array.to("meta") for array in _arrays((2, 5, 3, 7, 5), kind, order))
    inputs = [array.requires_grad_() for array in (maps, scale, shift)]
    result = normalized_rectified(inputs[0], (inputs[1], inputs[2]), CONSTANTS, NormKind.TWIN)
    result.backward(outer)
    assert result.dtype == inputs[0].grad.dtype == kind
    assert all(array.grad.device.type == "meta" for array in inputs)


@pytest.mark.parametrize("norm_kind", [NormKind.TWIN, NormKind.TRITON])
def test_the_result_does_not_change_from_call_to_call(norm_kind):
    arrays = _arrays((2, 3, 41, 23, 13), torch.float32, "last")
    runs = [_run(arrays, lambda maps, *rest: normalized_rectified(maps, rest, CONSTANTS, norm_kind)) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.parametrize("norm_kind", [NormKind.TWIN, NormKind.TRITON])
def test_a_constant_map_stays_finite(norm_kind):
    maps = torch.full((1, 2, 4, 4), 7.0)
    arrays = (maps, torch.ones_like(maps), torch.ones(2), torch.tensor([0.5, -0.5]))
    result, *gradients = _run(arrays, lambda maps, *rest: normalized_rectified(maps, rest, CONSTANTS, norm_kind))
    assert result.flatten(2).amax(dim=2).squeeze(0).tolist() == pytest.approx([0.5, -0.005], abs=1e-3)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("norm_kind", [NormKind.TWIN, NormKind.TRITON])
def test_a_network_gives_the_same_either_way(dimension, norm_kind):
    topology = Topology(
        dimension=dimension,
        input_channels=1,
        classes=3,
        features=(3, 6),
        strides=((1,) * dimension, (2,) * dimension),
        kernels=((3,) * dimension,) * 2,
    )
    image = torch.randn((2, 1, *(8,) * dimension), generator=torch.Generator().manual_seed(0))
    found = []
    for kind in (NormKind.PLAIN, norm_kind):
        network = build_network(topology, 0)
        choose_norm_kind(network, kind)
        logits = network(image)
        logits.square().mean().backward()
        found.append((logits.detach(), [parameter.grad for parameter in network.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-4, rtol=1e-4)
    for plain, fused in zip(found[0][1], found[1][1], strict=True):
        # The kernels' way adds no bias before a normalisation, so that there is no gradient of it.
        torch.testing.assert_close(plain, torch.zeros_like(plain) if fused is None else fused, atol=1e-4, rtol=1e-3)
