"""Augmentation on a device against `augment_patch`: the same record, the same patch. Here the device is a CPU."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from nnbox.records.augmentation import Elastic, SampleAugmentation
from nnbox.rules.augmentation import AugmentationSpec, draw_augmentation
from nnbox.training import interpolate
from nnbox.training.apply import augment_patch, sample_coordinates
from nnbox.training.augment import augment_packed, from_blocks, to_blocks
from nnbox.training.pack import CaseVoxels, Placed, pack
from nnbox.training.patches import Arrays, one_hot
from nnbox.training.windows import linear_part, window

LABELS = 2
SHAPE = (16, 14, 12)


@pytest.mark.parametrize(
    ("angles_rad", "scale"), [((0.3,), None), ((-2.0,), 1.2), ((0.2, -0.1, 0.25), 0.9), (None, 1.1)]
)
def test_rotation_and_scale_are_batchgenerators(angles_rad, scale):
    shape = (5, 4) if angles_rad is not None and len(angles_rad) == 1 else (5, 4, 3)
    drawn = SampleAugmentation(elastic=None, angles_rad=angles_rad, scale=scale, gammas=(None,), mirror_axes=())
    still = np.stack(np.meshgrid(*(np.arange(size) - (size - 1) / 2 for size in shape), indexing="ij"))
    found = np.tensordot(linear_part(drawn, len(shape)), still, axes=1)
    np.testing.assert_allclose(found, sample_coordinates(drawn, shape), atol=1e-12)


def _spec(slice_axis) -> AugmentationSpec:
    return AugmentationSpec(
        dimension=3,
        slice_axis=slice_axis,
        alpha=(0.0, 900.0) if slice_axis is None else (0.0, 200.0),
        angle_rad=np.pi / 12 if slice_axis is None else np.pi,
        channels=2,
        mirror_axes=(0, 1, 2),
        previous_labels=LABELS,
    )


def _case(seed) -> Arrays:
    shape = (18 + seed, 26, 23)
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal(shape), 2.0)
    smooth /= smooth.std()
    labels = np.digitize(smooth, (0.3, 1.0)).astype(np.int16)
    previous = np.digitize(smooth + 0.1 * rng.standard_normal(shape), (0.3, 1.0)).astype(np.uint8)
    labels[0] = -1
    image = np.stack((smooth, rng.standard_normal(shape))).astype(np.float32)
    return Arrays(image=image, labels=labels, previous=previous)


def _drawn(slice_axis, count, seed=0):
    rng, spec = np.random.default_rng(seed), _spec(slice_axis)
    cases = [_case(number) for number in range(4)]
    samples = []
    for _ in range(count):
        start = tuple(int(place) for place in rng.integers(-8, 15, 3))
        samples.append((cases[int(rng.integers(4))], start, draw_augmentation(rng, spec=spec)))
    return samples


def _placed(case, start, augmentation, slice_axis, *, on_device=False, shape=SHAPE):
    arrays = (case.image, case.labels, case.previous)
    if on_device:
        arrays = tuple(None if array is None else torch.from_numpy(array) for array in arrays)
    voxels = CaseVoxels(image=arrays[0], labels=arrays[1], previous=arrays[2])
    return Placed(case=voxels, start=start, shape=shape, slice_axis=slice_axis, augmentation=augmentation)


def _compare(samples, slice_axis, image, labels):
    equal = previous_equal = 0
    for number, (case, start, augmentation) in enumerate(samples):
        wanted = augment_patch(case, start=start, shape=SHAPE, augmentation=augmentation, slice_axis=slice_axis)
        # The error of interpolation: float32 places and coefficients instead of float64.
        np.testing.assert_allclose(image[number, :2].numpy(), wanted.image, atol=1e-4)
        equal += int((labels[number].numpy() == wanted.labels).sum())
        previous_equal += int((image[number, 2:].numpy() == one_hot(wanted.previous, LABELS)).all(axis=0).sum())
    voxels = len(samples) * np.prod(SHAPE)
    assert equal >= 0.995 * voxels
    assert previous_equal >= 0.995 * voxels


@pytest.mark.parametrize("asked", [frozenset({"cpu"}), frozenset()], ids=["asked", "never asked"])
@pytest.mark.parametrize("slice_axis", [None, 0, 1, 2])
def test_a_batch_is_what_each_patch_would_have_become(slice_axis, asked, monkeypatch):
    monkeypatch.setattr(interpolate, "ASKED", asked)
    samples = _drawn(slice_axis, 24)
    for first in range(0, len(samples), 6):
        some = samples[first : first + 6]
        packed = pack([_placed(*sample, slice_axis) for sample in some])
        _compare(some, slice_axis, *augment_packed(packed, LABELS))


def test_cases_that_lie_on_the_device_give_the_same():
    samples = _drawn(None, 6, seed=3)
    batches = [
        augment_packed(pack([_placed(*sample, None, on_device=where) for sample in samples], label_type=kind), LABELS)
        for where, kind in ((False, torch.int16), (True, torch.int8))
    ]
    assert torch.equal(batches[0][0], batches[1][0])
    assert torch.equal(batches[0][1], batches[1][1].to(torch.int16))


def test_a_flat_patch_is_a_volume_of_one_slice():
    rng, case = np.random.default_rng(1), _case(0)
    spec = dataclasses.replace(_spec(0), mirror_axes=(1, 2))
    samples = [(case, (number, 2, -3), draw_augmentation(rng, spec=spec)) for number in range(8)]
    packed = pack([_placed(*sample, 0, shape=(1, 14, 12)) for sample in samples])
    image, labels = augment_packed(packed, LABELS)
    for number, (_, start, augmentation) in enumerate(samples):
        wanted = augment_patch(case, start=start, shape=(1, 14, 12), augmentation=augmentation, slice_axis=0)
        np.testing.assert_allclose(image[number, :2].numpy(), wanted.image, atol=1e-4)
        assert (labels[number].numpy() == wanted.labels).mean() >= 0.995


@pytest.mark.parametrize("axes", [2, 3])
def test_the_window_holds_every_place_that_is_read(axes):
    rng = np.random.default_rng(axes)
    spec = dataclasses.replace(_spec(None if axes == 3 else 0), mirror_axes=())
    shape, case_shape = (20, 24, 16)[:axes], (90, 90, 90)[:axes]
    for _ in range(60):
        augmentation = draw_augmentation(rng, spec=spec)
        relative = sample_coordinates(augmentation, shape)
        if relative is None:
            continue
        start = (35, 35, 35)[:axes]
        found = window(augmentation, start, shape, case_shape)
        places = relative + (np.array(start) + (np.array(shape) - 1) / 2).reshape(-1, *(1,) * axes)
        for low, size, line in zip(found.low, found.size, places, strict=True):
            assert low <= max(line.min(), 0)
            assert min(line.max(), 89) <= low + size - 1


def test_blocks_are_a_reordering():
    for shape in ((16, 14, 130), (5, 7), (1, 64, 32)):
        array = torch.arange(2 * 3 * int(np.prod(shape))).view(2, 3, *shape)
        blocks = to_blocks(array)
        assert blocks[0, 0].sort().values.tolist() == array[0, 0].flatten().tolist()
        assert torch.equal(from_blocks(blocks, shape), array)


class _HostWaitsError(Exception):
    pass


class _NeverWaiting(TorchDispatchMode):
    """Fails on operations that make the host wait for the device's numbers."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.name() in {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}:
            raise _HostWaitsError(operation.name())
        return operation(*arguments, **(options or {}))


class _NeverReading(TorchFunctionMode):
    """Fails where a tensor's numbers are read on the host, which on a CPU takes no operation."""

    READS = frozenset({Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.cpu, Tensor.__array__, Tensor.__bool__})

    def __torch_function__(self, function, types, arguments=(), options=None):
        if function in self.READS:
            raise _HostWaitsError(function.__name__)
        return function(*arguments, **(options or {}))


def test_nothing_is_asked_of_a_device(monkeypatch):
    samples = [sample for sample in _drawn(None, 40, seed=5) if not sample[2].removal]
    elastic = Elastic(alpha=300.0, sigma=9.0, noise_seed=5)
    some = SampleAugmentation(
        elastic=elastic, angles_rad=(0.1, 0.1, 0.1), scale=1.1, gammas=(0.8, None), mirror_axes=(0,)
    )
    packed = pack([_placed(*sample, None) for sample in (*samples[:8], (samples[0][0], (0, 0, 0), some))])
    with pytest.raises(_HostWaitsError), _NeverWaiting():
        torch.nonzero(packed.gamma_rows)
    with pytest.raises(_HostWaitsError), _NeverReading():
        augment_packed(packed, LABELS)  # a CPU is asked
    monkeypatch.setattr(interpolate, "ASKED", frozenset())
    monkeypatch.setattr(
        "nnbox.training.augment.spline_coefficients", lambda image, filters, _: multiply(image, filters)
    )
    multiply = interpolate.multiply_axes
    with _NeverWaiting(), _NeverReading():
        augment_packed(packed, LABELS)


@pytest.mark.parametrize("slice_axis", [None, 1])
def test_a_device_without_any_numbers_can_augment(slice_axis):
    samples = [sample for sample in _drawn(slice_axis, 30, seed=6) if not sample[2].removal]
    packed = pack([_placed(*sample, slice_axis) for sample in samples])
    assert any(moving.elastics is not None for moving in packed.moving)
    image, labels = augment_packed(packed.to(torch.device("meta")), LABELS)  # whoever asked it would get an error
    assert image.shape[2:] == labels.shape[1:] == packed.shape
