"""The forward pass of prediction against the network it stands for, in float64."""

import copy

import pytest
import torch

from nnbox.network.forward import Forward
from nnbox.network.unet import build_network
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision

NETWORKS = {
    "3d": ((4, 8, 16), ((1, 1, 1), (2, 2, 2), (1, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3)), (6, 16, 12)),
    "one level": ((5,), ((1, 1, 1),), ((3, 3, 3),), (4, 6, 5)),
    "2d": ((6, 12), ((1, 1), (2, 2)), ((3, 3), (3, 3)), (20, 14)),
}


def network(name, *, classes=3, channels=2):
    features, strides, kernels, patch = NETWORKS[name]
    topology = Topology(
        dimension=len(patch),
        input_channels=channels,
        classes=classes,
        features=features,
        strides=strides,
        kernels=kernels,
    )
    return build_network(topology, seed=1).eval(), patch


def images(count, patch, channels=2):
    return torch.randn((count, channels, *patch), generator=torch.Generator().manual_seed(5)) * 3 + 1


def exact(net, batch):
    with torch.no_grad():
        return torch.softmax(copy.deepcopy(net).double()(batch.double()), dim=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_the_softmax_of_the_network(name):
    net, patch = network(name)
    batch = images(3, patch)
    with torch.inference_mode():
        found = Forward(net).probabilities(batch)
    assert found.is_contiguous()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact(net, batch), atol=1e-5, rtol=0)


def test_many_classes_and_voxels_are_taken_in_pieces_without_a_seam():
    net, _ = network("3d", classes=40)
    batch = images(1, (10, 32, 48))
    with torch.inference_mode():
        found = Forward(net).probabilities(batch)
    torch.testing.assert_close(found.double(), exact(net, batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_neither_batch_nor_threads_change_a_single_bit(name):
    net, patch = network(name)
    forward, batch = Forward(net), images(4, patch)
    threads = torch.get_num_threads()
    try:
        with torch.inference_mode():
            torch.set_num_threads(1)
            alone = torch.cat([forward.probabilities(sample[None]) for sample in batch])
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                assert torch.equal(forward.probabilities(batch), alone)
    finally:
        torch.set_num_threads(threads)


def test_values_far_from_zero_are_normalised_without_losing_digits():
    net, patch = network("one level")
    batch = images(1, patch) + 1000
    with torch.inference_mode():
        found = Forward(net).probabilities(batch)
    torch.testing.assert_close(found.double(), exact(net, batch), atol=2e-3, rtol=0)


def test_bf16_is_near_and_leaves_the_network_in_float32():
    net, patch = network("3d")
    batch = images(2, patch)
    with torch.inference_mode():
        found = Forward(net, Precision.BF16).probabilities(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(dim=1), torch.ones_like(found[:, 0]), atol=1e-5, rtol=0)
    assert 1e-5 < float((found - exact(net, batch)).abs().max()) < 0.2
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_the_batch_is_left_as_it_was():
    net, patch = network("3d")
    batch = images(1, patch)
    before = batch.clone()
    with torch.inference_mode():
        Forward(net).probabilities(batch)
    assert torch.equal(batch, before)


def test_a_patch_the_network_cannot_pool_is_refused():
    net, _ = network("3d")
    with pytest.raises(ValueError, match="multiple of 4"):
        Forward(net).probabilities(images(1, (6, 14, 12)))
