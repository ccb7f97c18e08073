from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from nnbox.network.counting import operations_per_voxel, parameter_count
from nnbox.network.elements import feature_elements
from nnbox.network.unet import build_network
from nnbox.records.plan import Topology


def topology_of(pools, dimension, *, channels=1, classes=3, cap=320) -> Topology:
    """The topology of a plan: an axis with fewer pools starts later."""
    deepest = max(pools)
    strides = [(1,) * dimension]
    strides += [tuple(2 if pool + level >= deepest else 1 for pool in pools) for level in range(deepest)]
    return Topology(
        dimension=dimension,
        input_channels=channels,
        classes=classes,
        features=tuple(min(30 * 2**level, cap) for level in range(deepest + 1)),
        strides=tuple(strides),
        kernels=((3,) * dimension,) * (deepest + 1),
    )


def memory_arithmetic(topology: Topology, patch) -> int:
    """RULES section 4, 2019 rule 1, written from its text."""
    voxels = math.prod(patch)
    total = 5 * voxels * topology.features[0] + topology.input_channels * voxels + topology.classes * voxels
    last = len(topology.features) - 1
    for level in range(1, last + 1):
        voxels //= math.prod(topology.strides[level])
        total += (2 if level == last else 5) * voxels * topology.features[level]
    return total


@pytest.mark.parametrize(
    ("patch", "pools"),
    [((40, 56, 40), (3, 3, 3)), ((20, 192, 192), (2, 5, 5)), ((128, 128, 128), (5, 5, 5)), ((56, 40), (3, 3))],
)
def test_hooks_count_what_the_memory_arithmetic_says(patch, pools):
    topology = topology_of(pools, len(patch))
    assert feature_elements(topology, patch) == memory_arithmetic(topology, patch)


def test_hooks_count_what_the_arithmetic_says_for_every_published_network(reference, count_oracle_cells):
    counted = 0
    for name in ("plans_2018_table1.json", "plans_2019.json"):
        tasks = json.loads((reference / name).read_text())
        for configuration in _configurations(tasks):
            patch, pools = configuration["patch_size"], configuration["num_pool_per_axis"]
            topology = topology_of(tuple(pools), len(patch), cap=480 if len(patch) == 2 else 320)
            assert feature_elements(topology, patch) == memory_arithmetic(topology, patch)
            counted += 1
    assert counted >= 14
    count_oracle_cells(counted)


def _configurations(document):
    if isinstance(document, dict):
        if "patch_size" in document and "num_pool_per_axis" in document:
            yield document
        else:
            for value in document.values():
                yield from _configurations(value)


def test_a_network_without_pooling_needs_less_than_the_arithmetic_allows():
    topology = topology_of((0, 0, 0), 3)
    assert feature_elements(topology, (4, 5, 6)) == 120 * (1 + 2 * 30 + 3)
    assert feature_elements(topology, (4, 5, 6)) < memory_arithmetic(topology, (4, 5, 6))


def test_parameters_are_those_of_the_built_network():
    topology = dataclasses.replace(topology_of((2, 2, 2), 3), features=(4, 8, 16))
    by_hand = 27 * 4 + 4 + 27 * 16 + 4 + 27 * 32 + 8 + 27 * 64 + 8 + 27 * 128 + 16 + 27 * 256 + 16  # encoder
    by_hand += 8 * 16 * 8 + 8 * 8 * 4  # upsampling
    by_hand += 27 * 16 * 8 + 8 + 27 * 64 + 8 + 27 * 8 * 4 + 4 + 27 * 16 + 4  # decoder
    by_hand += 2 * 2 * (4 + 8 + 16) + 2 * 2 * (4 + 8)  # normalisation
    by_hand += 4 * 3  # head
    assert parameter_count(topology) == by_hand
    assert sum(parameter.numel() for parameter in build_network(topology, 0).parameters()) == by_hand


def test_multiply_adds_are_those_of_the_convolutions_run():
    topology = dataclasses.replace(
        topology_of((1, 2), 2), features=(3, 6, 12), kernels=((3, 3), (1, 3), (3, 3)), input_channels=2
    )
    patch = (8, 8)
    network = build_network(topology, 0)
    total = 0

    def count(module, inputs, output):
        nonlocal total
        weight = module.weight
        transposed = isinstance(module, torch.nn.ConvTranspose2d)
        positions = inputs[0].numel() // inputs[0].shape[1] if transposed else output.numel() // output.shape[1]
        total += positions * weight.numel()

    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            module.register_forward_hook(count)
    network(torch.zeros((1, 2, *patch)))
    assert operations_per_voxel(topology) * math.prod(patch) == pytest.approx(total)
