"""Reading by kernels against reading by torch's calls; Triton's interpreter runs them here (see tests/conftest.py)."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nnbox.records.engine import Residence
from nnbox.training import interpolate
from nnbox.training.banded import MARGIN
from nnbox.training.draw import sampling_plan
from nnbox.training.feed import device_batches
from nnbox.training.interpolate import read_moved
from nnbox.training.mirror_kernels import mirrored_by_kernel
from nnbox.training.reading_kernels import TILE_POINTS
from nnbox.training.residence import Cases

CPU = torch.device("cpu")

# Windows of the samples, padded to one size; odd sizes, axes of one voxel.
SIZES = {2: ((7, 9), (1, 5), (6, 4)), 3: ((5, 7, 9), (4, 7, 2), (1, 3, 5))}
POINTS = TILE_POINTS + 45  # one tile that is full, one that is not


def _space(axes):
    return tuple(max(size) + 2 * MARGIN for size in zip(*SIZES[axes], strict=True))


def _places(axes):
    """Points anywhere, a quarter of them on voxels or half-way between; some on the edges or just beyond them."""
    random = torch.Generator().manual_seed(axes)
    sizes = torch.tensor(SIZES[axes], dtype=torch.float32)
    places = torch.rand((len(sizes), axes, POINTS), generator=random) * (sizes + 2).unsqueeze(2) - 1.5
    places[..., ::4] = (places[..., ::4] * 2).round() / 2
    places[..., 1], places[..., 2] = 0.0, sizes - 1
    places[..., 5], places[..., 6] = -1e-6, sizes - 1 + 1e-6
    return places, sizes


def _images(axes, channels):
    random = torch.Generator().manual_seed(channels)
    return torch.randn((len(SIZES[axes]), channels, *_space(axes)), generator=random)


def _maps(axes, kind, slices):
    random = torch.Generator().manual_seed(slices)
    low = 0 if kind is torch.uint8 else -1
    return torch.randint(low, 3, (len(SIZES[axes]), slices, *_space(axes)), generator=random, dtype=kind)


def _assert_alike(read, wanted):
    torch.testing.assert_close(read[0], wanted[0], atol=1e-5, rtol=0)
    assert len(read) == len(wanted)
    for found, known in zip(read[1:], wanted[1:], strict=True):
        assert found.dtype == known.dtype
        assert torch.equal(found, known)


@pytest.mark.parametrize("axes", [2, 3])
def test_kernels_read_what_torch_reads(axes, monkeypatch):
    given = _images(axes, 2), (_maps(axes, torch.int16, 2),), *_places(axes)
    read = read_moved(*given, kernels=True)
    for asked in (frozenset({"cpu"}), frozenset()):
        monkeypatch.setattr(interpolate, "ASKED", asked)
        _assert_alike(read, read_moved(*given))


@pytest.mark.parametrize("axes", [2, 3])
def test_there_may_be_no_image_and_any_type_of_label(axes):
    maps = tuple(_maps(axes, kind, 1) for kind in (torch.int8, torch.int16, torch.uint8))
    places, sizes = _places(axes)
    given = _images(axes, 0), maps, places[..., :TILE_POINTS], sizes
    _assert_alike(read_moved(*given, kernels=True), read_moved(*given))


def test_arrays_may_lie_in_any_order():
    images, labels = _images(2, 2), _maps(2, torch.int8, 2)
    places, sizes = _places(2)
    turned = [array.movedim(1, -1).contiguous().movedim(-1, 1) for array in (images, labels, places)]
    turned.append(sizes.t().contiguous().t())
    assert not any(array.is_contiguous() for array in turned)
    read = read_moved(turned[0], (turned[1],), *turned[2:], kernels=True)
    _assert_alike(read, read_moved(images, (labels,), places, sizes))


def test_places_that_are_no_numbers_are_outside():
    places, sizes = _places(2)
    places[:, 1] = float("nan")
    for found in read_moved(_images(2, 1), (_maps(2, torch.int8, 1),), places, sizes, kernels=True):
        assert not found.any()


def test_no_points_are_read_as_none():
    places, sizes = _places(2)
    image, labels = read_moved(_images(2, 1), (_maps(2, torch.int8, 1),), places[..., :0], sizes, kernels=True)
    assert image.shape == labels.shape == (len(sizes), 1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "2d", "patch": (16, 24)},
        {"dummy_2d_augmentation": True, "dummy_2d_axis": 0},
        {"name": "3d_cascade"},
    ],
    ids=["3d", "2d", "slice by slice", "cascade"],
)
def test_batches_are_the_same_by_kernels_or_by_torch(job, tiny, previous_store, changes, monkeypatch):
    monkeypatch.setattr("nnbox.training.reading_kernels.TILE_POINTS", 2048)  # fewer programs: they run one by one here
    configuration = tiny.configuration(**changes)
    previous = previous_store if configuration.previous else None
    plan = sampling_plan(
        dataclasses.replace(
            job, configuration=configuration, plan=tiny.plan(configuration), previous_store=previous, iterations=20
        )
    )
    batches, expected = (
        list(device_batches(plan, Cases(plan, Residence.HOST, CPU, torch.int8), CPU, torch.int8, (0, 2), kernels=way))
        for way in (True, False)
    )
    assert any((one.image != other.image).any() for one, other in zip(batches, expected, strict=True))
    for found, wanted in zip(batches, expected, strict=True):
        torch.testing.assert_close(found.image, wanted.image, atol=1e-4, rtol=0)
        assert torch.equal(found.image[:, 2:], wanted.image[:, 2:])  # previous labels
        assert torch.equal(found.labels, wanted.labels)


class _NeverWaiting(TorchDispatchMode):
    """Fails on operations that make the host wait for the device's numbers."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        waiting = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_to_copy"}
        assert operation.name() not in waiting
        return operation(*arguments, **(options or {}))


def test_nothing_is_asked_of_a_device(monkeypatch):
    """The launches themselves are left out: the interpreter copies arrays."""
    launched = []

    class Kernel:
        def __getitem__(self, grid):
            return lambda *_arrays, **_constants: launched.append(grid)

    monkeypatch.setattr("nnbox.training.reading_kernels._sum_up", Kernel())
    monkeypatch.setattr("nnbox.training.reading_kernels._vote", Kernel())
    images, labels, where = _images(3, 2), (_maps(3, torch.int8, 1), _maps(3, torch.uint8, 1)), _places(3)
    with _NeverWaiting():
        read_moved(images, labels, *where, kernels=True)
    assert launched == [(2, 2, 3), (2, 1, 3), (2, 1, 3)]  # one launch for the images, one for each map


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from nnbox.training import reading_kernels

for kernel, kind, axes in (("_sum_up", "fp32", 3), ("_sum_up", "fp32", 2), ("_vote", "i8", 3), ("_vote", "u8", 2)):
    made = getattr(reading_kernels, kernel)
    types = {"images": "*fp32", "places": "*fp32", "sizes": "*fp32", "labels": "*" + kind, "results": "*" + kind}
    types |= {"AXES": "constexpr", "TILE": "constexpr"}
    signature = {name: types.get(name, "i32") for name in made.arg_names}
    source = ASTSource(made, signature, constexprs={"AXES": axes, "TILE": reading_kernels.TILE_POINTS})
    for capability in map(int, sys.argv[1:]):
        target, options = GPUTarget("cuda", capability, 32), {"enable_fp_fusion": kernel == "_sum_up"}
        assert triton.compile(source, target=target, options=options).asm["cubin"]
"""


def test_the_kernels_compile_for_cards_old_and_new_without_one_being_there(tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILE, "75", "90"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("kind", [torch.float32, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(8, 2, 5, 7, 6), (8, 1, 9, 23, 11), (8, 4, 3, 2)])
def test_mirroring_is_a_flip_of_each_sample(shape, kind):
    array = (3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(kind)
    found = mirrored_by_kernel(array, torch.arange(8, dtype=torch.int32))
    for bits, (one, other) in enumerate(zip(found, array, strict=True)):
        assert torch.equal(one, other.flip([axis - 3 for axis in range(3) if bits >> axis & 1]))
