"""What a card's host is spared gives the same: many samples at once, numbers in one copy, axes in one product each."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nnbox.records.augmentation import Elastic, SampleAugmentation
from nnbox.rules.augmentation import AugmentationSpec, draw_augmentation
from nnbox.training.banded import gaussian_matrix
from nnbox.training.draw import CaseFacts, _foreground_voxel
from nnbox.training.interpolate import multiply_axes, multiply_axes_at_once
from nnbox.training.pack import CaseVoxels, Placed, pack
from nnbox.training.packed import ALIGNED_BYTES, carried_together
from nnbox.training.windows import window, windows

CPU, META = torch.device("cpu"), torch.device("meta")
STILL = SampleAugmentation(elastic=None, angles_rad=None, scale=None, gammas=(None, 0.8), mirror_axes=(1,))
ELASTIC = Elastic(alpha=300.0, sigma=9.0, noise_seed=5)


def _random(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sizes", [((7, 5), (4, 9), (6, 6)), ((1, 5), (8, 3))], ids=["3d", "2d"])
def test_axes_multiplied_for_all_samples_at_once_are_those_of_each(sizes, channels):
    volumes = _random((4, channels, *(size for size, _ in sizes)))
    matrices = tuple(_random((4, wanted, size), seed) for seed, (size, wanted) in enumerate(sizes, start=1))
    found, wanted = multiply_axes_at_once(volumes, matrices), multiply_axes(volumes, matrices)
    assert found.is_contiguous()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [2, 3])
def test_windows_of_many_patches_are_those_of_each(axes):
    rng = np.random.default_rng(axes)
    spec = AugmentationSpec(
        dimension=3,
        slice_axis=None if axes == 3 else 0,
        alpha=(0.0, 900.0),
        angle_rad=0.3,
        channels=1,
        mirror_axes=(),
        previous_labels=0,
    )
    drawn = [draw_augmentation(rng, spec=spec) for _ in range(40)]
    starts, cases = rng.integers(-9, 60, (40, axes)).tolist(), rng.integers(20, 99, (40, axes)).tolist()
    shape = (20, 24, 16)[:axes]
    for found, *one in zip(windows(drawn, starts, shape, cases), drawn, starts, cases, strict=True):
        wanted = window(one[0], one[1], shape, one[2])
        for field in dataclasses.fields(wanted):
            assert np.array_equal(getattr(found, field.name), getattr(wanted, field.name))


def test_a_gaussian_that_reaches_beyond_the_axis_is_cut():
    found = gaussian_matrix(5, 4.0)
    assert np.array_equal(found, gaussian_matrix(40, 4.0)[10:15, 10:15])
    assert not gaussian_matrix(40, 1.0)[0, 5:].any()


def _packed():
    rng = np.random.default_rng(0)
    image, labels = rng.standard_normal((2, 20, 24, 22)).astype(np.float32), rng.integers(0, 3, (20, 24, 22))
    case = CaseVoxels(image=image, labels=labels.astype(np.int16), previous=None)
    changes = ({}, {"scale": 1.1}, {"angles_rad": (0.1, 0.1, 0.1)}, {"elastic": ELASTIC}, {"scale": 0.9})
    samples = [
        Placed(
            case=case,
            start=(row, -3, 2),
            shape=(12, 16, 14),
            slice_axis=None,
            augmentation=dataclasses.replace(STILL, **change),
        )
        for row, change in enumerate(changes)
    ]
    return pack(samples)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value if isinstance(value, tuple) else [getattr(value, name) for name in getattr(value, "__slots__", ())]
    return [tensor for part in parts for tensor in _tensors(part)]


def test_tensors_that_travel_together_arrive_as_they_were_each_where_a_product_wants_it():
    tensors = [*_tensors(_packed()), torch.empty(0), torch.tensor([True, False])]
    assert len(tensors) > 20
    there = carried_together(tensors, CPU)
    assert len({tensor.untyped_storage().data_ptr() for tensor in there}) == 1
    for found, wanted in zip(there, tensors, strict=True):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
        assert (found.storage_offset() * found.itemsize) % ALIGNED_BYTES == 0
    assert carried_together([], CPU) == []
    assert carried_together([torch.empty(0)], CPU)[0].shape == (0,)


class _Copies(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.made = collections.Counter()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.made[operation.name()] += 1
        return operation(*arguments, **(options or {}))


def test_a_batch_is_copied_to_a_device_at_once_and_stays_whole():
    packed = _packed()
    with _Copies() as copies:
        there = packed.to(META)
    assert copies.made["aten::_to_copy"] == 1
    before, after = _tensors(packed), _tensors(there)
    assert [(one.shape, one.stride(), one.dtype) for one in before] == [
        (one.shape, one.stride(), one.dtype) for one in after
    ]
    assert {tensor.device for tensor in after} == {META}
    assert there.augmentations == packed.augmentations
    assert there.moving[1].elastics.seeds == (ELASTIC.noise_seed,)
    assert all(one is other for one, other in zip(before, _tensors(packed.to(CPU)), strict=True))


def test_what_a_case_lacks_of_a_patch_is_nothing():
    packed = _packed()
    assert not packed.image[0, :, :, :3].any()
    assert not packed.labels[0, :, :3].any()
    assert packed.image[0, :, :, 3:].all()


def test_a_forced_voxel_is_one_of_the_drawn_class():
    rows = [(1, 4, 5, 6), (1, 4, 5, 7), (3, 0, 1, 2)]
    facts = CaseFacts(shape_vox=(9, 9, 9), class_voxels=(2, 0, 1), voxels=np.array(rows, dtype=np.int32))
    found = {_foreground_voxel(np.random.default_rng(seed), facts) for seed in range(40)}
    assert found == {row[1:] for row in rows}
    assert _foreground_voxel(np.random.default_rng(0), dataclasses.replace(facts, class_voxels=(0, 0, 0))) is None
