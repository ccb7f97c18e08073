"""Networks with more features than planned, all of them 0: a GPU's 16-bit convolutions want multiples of eight.

A voxel's features lie side by side; 30 of them in 16 bits are no multiple of the 16 bytes that a card reads at a time,
and cuDNN then takes far slower kernels. A widened network has features rounded up. Weights from and to the added ones
are 0, and so are their scales and shifts; every map of them is 0 and sends no gradient to any weight of theirs, so that
an optimiser leaves them 0. What is left is the planned network, number by number. Source: own
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

MULTIPLE = 8

_JOINED = re.compile(r"decoder\.\d+\.0\.conv\.weight")  # reads a skip connection and what comes from below
_Slices = tuple[slice, ...]


def widened_topology(topology: Topology) -> Topology:
    """Return the topology with every level's features rounded up; image channels and classes stay."""
    return replace(topology, features=tuple(-(-count // MULTIPLE) * MULTIPLE for count in topology.features))


def is_narrow(topology: Topology) -> bool:
    """Whether widening changes anything."""
    return widened_topology(topology) != topology


class Widening:
    """Arrays of a topology's network to those of the widened one, and back.

    Attributes:
        topology: the widened one.
    """

    def __init__(self, planned: Topology) -> None:
        self.topology = widened_topology(planned)
        self._planned, self._wide = (
            {name: tuple(parameter.shape) for name, parameter in UNet(topology).named_parameters()}
            for topology in (planned, self.topology)
        )

    def widened(self, name: str, values: Tensor) -> Tensor:
        """Return a parameter's array, or one that an optimiser keeps for it, with zeros for the added features."""
        wide = values.new_zeros(self._wide[name])
        for planned, at in self._parts(name):
            wide[at] = values[planned]
        return wide

    def narrowed(self, name: str, values: Tensor) -> Tensor:
        """Return the planned part of a widened array, as an array of its own."""
        found = values.new_empty(self._planned[name])
        for planned, at in self._parts(name):
            found[planned] = values[at]
        return found

    def network(self, weights: Mapping[str, Tensor]) -> UNet:
        """Return a widened network with a planned one's weights, on their device."""
        network = UNet(self.topology)
        network.load_state_dict({name: self.widened(name, values) for name, values in weights.items()}, assign=True)
        return network

    def _parts(self, name: str) -> list[tuple[_Slices, _Slices]]:
        """Return which slices of a planned array lie where in the widened one."""
        planned, wide = self._planned[name], self._wide[name]
        whole = tuple(slice(0, size) for size in planned)
        if not _JOINED.fullmatch(name):
            return [(whole, whole)]
        half, wide_half = planned[1] // 2, wide[1] // 2
        return [
            (_on_axis_1(whole, first, half), _on_axis_1(whole, at, half)) for first, at in ((0, 0), (half, wide_half))
        ]


def _on_axis_1(whole: _Slices, first: int, size: int) -> _Slices:
    return (whole[0], slice(first, first + size), *whole[2:])
