"""The arithmetic of a sweep: it holds what cells and slabs really hold, and every manner holds less or the same."""

from __future__ import annotations

import itertools

import pytest
import torch

from nnbox.inference.accumulate import Cells
from nnbox.inference.footprint import SweepSize, cells_bytes, sweep_bytes
from nnbox.inference.manner import manners
from nnbox.inference.passes import Effort
from nnbox.inference.walk import Walk
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision


def size(shape=(50, 40, 24), patch=(8, 16, 12), classes=30, **changes):
    dimension = len(patch)
    topology = Topology(
        dimension=dimension,
        input_channels=1,
        classes=classes,
        features=(4,),
        strides=((1,) * dimension,),
        kernels=((3,) * dimension,),
    )
    usual = {
        "interpolated": (True, True),
        "calls": 1,
        "precision": Precision.FLOAT32,
        "together": False,
        "on_card": False,
    }
    return SweepSize(topology=topology, patch_size=patch, shape_vox=shape, **(usual | changes))


def held(cells):
    live = sum(_bytes(cell) for cell in cells._live.values())
    return live + sum(4 * edge.numel() for edges in (cells._below, cells._before) for edge in edges.values())


def _bytes(cell):
    parts = [cell] if isinstance(cell, torch.Tensor) else [cell.shares, cell.highest, cell.which]
    return sum(part.numel() * part.element_size() for part in parts)


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("interpolated", [(False, False), (True, True), (False, True)])
def test_no_more_is_held_than_is_said_and_not_much_less(halves, interpolated):
    said = size(interpolated=interpolated)
    walk = Walk(said.shape_vox, (8, 16, 12))
    cells = Cells(walk, 30, torch.device("cpu"), interpolated=interpolated, halves=halves)
    most = 0
    for row in walk.rows():
        for corner in walk.corners(row):
            cells.add(corner, torch.ones((30, 8, 16, 12)))
            most = max(most, held(cells))
        for _ in cells.complete(row):
            most = max(most, held(cells))
    without_passes = sweep_bytes(said, Effort(), halves=halves) - sweep_bytes(said, Effort(), halves=False)
    assert most <= cells_bytes(said, halves=halves) * 1.3
    assert most >= cells_bytes(said, halves=halves) * 0.7
    assert (without_passes < 0) == halves


def test_each_manner_holds_no_more_than_the_one_before_it():
    usual = Effort(streams=4, samples=8)
    for on_card in (True, False):
        said = size(on_card=on_card, calls=8)
        found = [sweep_bytes(said, manner.effort(usual), halves=manner.halves) for manner in manners(on_card=on_card)]
        assert all(after <= before for before, after in itertools.pairwise(found))
        assert found[-1] < found[0]


def test_length_costs_nothing_beyond_the_tile():
    assert len({sweep_bytes(size(shape=(z, 40, 24)), Effort(), halves=False) for z in (40, 400, 4000)}) == 1
    assert len({sweep_bytes(size(shape=(z, 40, 24), patch=(16, 12)), Effort(), halves=False) for z in (9, 4000)}) == 1


def test_configurations_that_wait_for_each_other_hold_slabs():
    alone, together = (sweep_bytes(size(together=value), Effort(), halves=False) for value in (False, True))
    assert together > alone
