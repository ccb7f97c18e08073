"""A widened network is the planned one with features that are always 0."""

from __future__ import annotations

import pytest
import torch

from nnbox.network.unet import ConvBlock, build_network, choose_norm_kind
from nnbox.network.widened import MULTIPLE, Widening, is_narrow, widened_topology
from nnbox.records.engine import NormKind
from nnbox.records.plan import Topology
from nnbox.training.loss import segmentation_loss


def make(features, dimension=3) -> Topology:
    levels = len(features)
    return Topology(
        dimension=dimension,
        input_channels=2,
        classes=3,
        features=features,
        strides=((1,) * dimension, *((2,) * dimension,) * (levels - 1)),
        kernels=((3,) * dimension,) * levels,
    )


PLANNED = make((3, 6, 12))


def networks(planned=PLANNED):
    network, widening = build_network(planned, 1), Widening(planned)
    return network, widening.network(network.state_dict()).requires_grad_(), widening


@pytest.mark.parametrize(
    ("planned", "wide"), [((30, 60, 120, 240, 320), (32, 64, 120, 240, 320)), ((8, 16), (8, 16)), ((1,), (8,))]
)
def test_features_are_rounded_up_and_nothing_else(planned, wide):
    found = widened_topology(make(planned))
    assert found.features == wide
    assert all(count % MULTIPLE == 0 for count in found.features)
    assert (found.input_channels, found.classes) == (2, 3)
    assert is_narrow(make(planned)) == (planned != wide)


@pytest.mark.parametrize("planned", [PLANNED, make((3, 5), dimension=2), make((5,))])
def test_widened_weights_are_brought_back_bit_for_bit(planned):
    network, wide, widening = networks(planned)
    assert {name: tensor.shape for name, tensor in wide.state_dict().items()} != {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    for name, tensor in network.state_dict().items():
        assert torch.equal(widening.narrowed(name, wide.state_dict()[name]), tensor)
        assert torch.count_nonzero(wide.state_dict()[name]) == torch.count_nonzero(tensor)


@pytest.mark.parametrize("kind", list(NormKind))
def test_logits_are_those_of_the_planned_network_and_added_features_are_0(kind):
    network, wide, _ = networks()
    choose_norm_kind(network, kind)
    choose_norm_kind(wide, kind)
    added = []

    def look(_module, _inputs, maps):
        planned = {8: 3, 16: 12}[maps.shape[1]] if maps.shape[2] != 4 else 6
        added.append(maps[:, planned:])

    for module in wide.modules():
        if isinstance(module, ConvBlock):
            module.register_forward_hook(look)
    image = torch.randn((2, 2, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(wide(image), network(image), atol=2e-5, rtol=1e-5)
    assert added
    assert not any(torch.count_nonzero(maps) for maps in added)


def test_what_is_added_stays_0_in_training():
    """With weight decay, momentum and the largest second moments kept, as trainings have them."""
    _, wide, widening = networks()
    choose_norm_kind(wide, NormKind.TWIN)
    optimizer = torch.optim.Adam(wide.parameters(), lr=1e-2, weight_decay=3e-5, amsgrad=True)
    random = torch.Generator().manual_seed(0)
    for _ in range(3):
        image = torch.randn((2, 2, 8, 8, 8), generator=random)
        labels = torch.randint(0, 3, (2, 8, 8, 8), generator=random)
        optimizer.zero_grad()
        segmentation_loss(wide(image), labels, batch_dice=True).backward()
        optimizer.step()
    for name, parameter in wide.named_parameters():
        kept = [value for value in optimizer.state[parameter].values() if value.ndim]
        assert len(kept) == 3
        for values in (parameter.detach(), *kept):
            back = widening.widened(name, widening.narrowed(name, values))
            assert torch.equal(back, values), name
