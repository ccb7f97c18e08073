"""The networks that are planned for the seven reference tasks: counted by hooks, by a formula, and by the planner."""

from __future__ import annotations

import json
import math

import pytest
import torch

from nnbox.network.counting import parameter_count
from nnbox.network.elements import feature_elements
from nnbox.network.unet import UNet
from nnbox.records.dataset import Choices
from nnbox.rules.budget import memory_proxy
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.planning import make_plan

TASKS = ("BrainTumour", "Heart", "Liver", "Hippocampus", "Prostate", "Lung", "Pancreas")


@pytest.fixture(scope="module", params=["2018", "2019"])
def plans(request, reference):
    document = json.loads((reference / "msd_fingerprints.json").read_text())
    assert tuple(name[7:] for name in document) == TASKS
    return [
        make_plan(
            fingerprint_from_json(document, task=task, where="reference"), recipe=request.param, choices=Choices()
        )
        for task in document
    ]


def _each(plans):
    for plan in plans:
        for item in plan.configurations:
            yield plan, item


def _parameters(topology):
    """Written from RULES.md §4: two convolutions a level with bias and affine norm, no bias up and in the head."""

    def block(before, after, kernel):
        return math.prod(kernel) * before * after + after + 2 * after

    total, before = 0, topology.input_channels
    for features, kernel in zip(topology.features, topology.kernels, strict=True):
        total += block(before, features, kernel) + block(features, features, kernel)
        before = features
    for level in range(len(topology.features) - 1):
        features, below = topology.features[level : level + 2]
        kernel = topology.kernels[level]
        total += below * features * math.prod(topology.strides[level + 1])
        total += block(2 * features, features, kernel) + block(features, features, kernel)
    return total + topology.features[0] * topology.classes


def test_hooks_count_what_the_planners_proxy_says(plans, count_oracle_cells):
    counted = 0
    for plan, item in _each(plans):
        topology = item.topology
        proxy = memory_proxy(
            item.patch_size,
            topology.strides[1:],
            first=30,
            cap=320 if topology.dimension == 3 else 480,
            channels=topology.input_channels,
            classes=topology.classes,
        )
        assert feature_elements(topology, item.patch_size) == proxy, (plan.task, item.name)
        counted += 1
    assert counted >= 2 * len(TASKS)
    count_oracle_cells(counted)


def test_what_a_2019_plan_says_a_patch_costs_is_what_the_network_holds_and_fits_the_budget(plans):
    for plan, item in _each(plans):
        if plan.recipe != "2019" or item.previous is not None:
            continue
        (decision,) = (found for found in plan.decisions if found.subject == f"{item.name}.patch_size")
        elements = feature_elements(item.topology, item.patch_size)
        assert decision.inputs["cost"] == elements
        whole = 2 * 520_000_000 if item.topology.dimension == 3 else 50 * 19_739_648
        assert elements * item.batch_size <= whole


def _encoder_sizes(item):
    """Channels and sizes of what each level of the encoder gives, by hooks on a run without arithmetic."""
    sizes = []
    network = UNet(item.topology)
    for level in network.encoder:
        level.register_forward_hook(lambda _module, _inputs, output: sizes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        logits = network(torch.empty((1, item.topology.input_channels, *item.patch_size), device="meta"))
    assert tuple(logits.shape) == (1, item.topology.classes, *item.patch_size)
    return sizes


def test_every_feature_map_has_the_size_that_the_poolings_leave(plans):
    for _, item in _each(plans):
        sizes = _encoder_sizes(item)
        pools, cap = item.num_pool_per_axis, 320 if len(item.patch_size) == 3 else 480
        assert len(sizes) == max(pools) + 1
        assert [found[0] for found in sizes] == [min(30 * 2**level, cap) for level in range(len(sizes))]
        assert sizes[-1][1:] == tuple(size // 2**n for size, n in zip(item.patch_size, pools, strict=True))
        assert min(sizes[-1][1:]) >= 4
        if len(item.patch_size) == 3:
            # An axis with fewer poolings starts later.
            for level, found in enumerate(sizes):
                done = [max(0, level - (max(pools) - n)) for n in pools]
                assert found[1:] == tuple(size // 2**n for size, n in zip(item.patch_size, done, strict=True))


def test_parameters_are_those_of_the_formula(plans):
    for plan, item in _each(plans):
        assert parameter_count(item.topology) == _parameters(item.topology), (plan.task, item.name)
        counted = sum(parameter.numel() for parameter in UNet(item.topology).parameters())
        assert parameter_count(item.topology) == counted, (plan.task, item.name)


def test_the_second_stage_has_only_its_first_convolution_larger(plans):
    for plan, item in _each(plans):
        if item.previous is None:
            continue
        full = plan.configuration("3d_fullres").topology
        more = parameter_count(item.topology) - parameter_count(full)
        assert more == len(plan.labels) * full.features[0] * math.prod(full.kernels[0])
