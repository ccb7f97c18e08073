"""Preprocessing of a case: the order of work, and that it can be undone."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from nnbox.geometry import Grid
from nnbox.imaging.memory import SourceSize, prepared_bytes, reading_bytes
from nnbox.imaging.prepare import OUTSIDE, prepare, prepare_each
from nnbox.records.dataset import Channel, Choices, Label
from nnbox.records.plan import ConfigurationPlan, Normalization, NormalizationScheme, Plan, Resampling, Topology

_SCRATCH_BYTES = 700_000  # of moments and label rows, whatever the case
_ORDERS = list(itertools.permutations(range(3)))
_ZSCORE = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=False)


def _plan(*, axis_order=(0, 1, 2), target=(1.0, 1.0, 1.0), threshold=3.0, label_order=1, masked=False, channels=1):
    flat = target[0] is None
    configuration = ConfigurationPlan(
        name="2d" if flat else "3d_fullres",
        store="2d" if flat else "3d_fullres",
        previous=None,
        spacing_mm=tuple(value for value in target if value is not None),
        median_shape=(8, 8) if flat else (8, 8, 8),
        patch_size=(8, 8) if flat else (8, 8, 8),
        batch_size=2,
        num_pool_per_axis=(1, 1) if flat else (1, 1, 1),
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=True,
        full_resolution=True,
        resampling=Resampling(target_spacing_mm=target, separate_axis_threshold=threshold, label_order=label_order),
        topology=Topology(dimension=3, input_channels=1, classes=2, features=(4,), strides=(), kernels=()),
    )
    scheme = Normalization(scheme=NormalizationScheme.ZSCORE, use_nonzero_mask=masked)
    plan = Plan(
        task="Task00_Test",
        recipe="2019",
        trainable=True,
        why_not_trainable=None,
        planning_memory_gb=12.0,
        dimension=3,
        axis_order=axis_order,
        channels=tuple(Channel(name=f"MR{index}", is_ct=False) for index in range(channels)),
        labels=(Label(value=1, name="a"), Label(value=2, name="b")),
        normalizations=(scheme,) * channels,
        configurations=(configuration,),
        choices=Choices(),
        decisions=(),
    )
    return plan, configuration


def _grid(shape, spacing_mm=(1.0, 1.0, 1.0)):
    return Grid(
        shape_vox=tuple(shape),
        spacing_mm=spacing_mm,
        origin_xyz_mm=(1.0, 2.0, 3.0),
        direction_xyz=(0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 1.0),
    )


def _case(shape, seed=0, channels=1, margin=2):
    rng = np.random.default_rng(seed)
    image = np.zeros((channels, *shape), dtype=np.float32)
    inner = tuple(slice(margin, size - margin) for size in shape)
    image[(slice(None), *inner)] = rng.normal(100, 30, size=image[(slice(None), *inner)].shape)
    labels = np.zeros(shape, dtype=np.int32)
    labels[inner] = rng.integers(0, 3, size=labels[inner].shape)
    return image, labels


@pytest.mark.parametrize("axis_order", _ORDERS)
def test_labels_come_back_exactly_under_any_axis_order(axis_order):
    image, labels = _case((9, 11, 13))
    plan, configuration = _plan(axis_order=axis_order)
    prepared = prepare(image, labels, _grid(labels.shape), plan, configuration)
    assert prepared.image.dtype == np.float32
    assert prepared.labels.dtype == np.int16
    back = prepared.placement.restore(np.maximum(prepared.labels, 0))
    assert np.array_equal(back, labels)


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(_ORDERS),
    shape=st.tuples(*[st.integers(3, 9)] * 3),
    margin=st.integers(0, 1),
    spacing=st.tuples(*[st.sampled_from([0.5, 0.9, 1.0, 4.0])] * 3),
)
def test_restoring_what_was_placed_gives_back_what_lies_in_the_crop(order, shape, margin, spacing):
    image, labels = _case(shape, margin=margin)
    plan, configuration = _plan(axis_order=order)
    placement = prepare(image, labels, _grid(shape, spacing), plan, configuration).placement
    volume = np.random.default_rng(1).integers(1, 99, size=shape)
    placed = placement.place(volume)
    assert placed.shape == placement.crop.shape_vox
    restored = placement.restore(placed)
    inside = placement.restore(np.ones(placed.shape, dtype=bool))
    assert np.array_equal(restored, np.where(inside, volume, 0))
    assert np.array_equal(placement.restore(placement.place(image)), image)


def test_the_image_is_transposed_cropped_resampled_and_normalised():
    image, labels = _case((12, 14, 16))
    plan, configuration = _plan(axis_order=(2, 0, 1), target=(2.0, 1.0, 0.5))
    prepared = prepare(image, labels, _grid(labels.shape, (1.2, 0.8, 1.5)), plan, configuration)
    placement = prepared.placement
    assert placement.crop.shape_vox == (12, 8, 10)
    assert placement.crop_spacing_mm == (1.5, 1.2, 0.8)
    assert placement.prepared_shape_vox == (9, 10, 16)  # 12·1.5/2, 8·1.2/1 = 9.6, 10·0.8/0.5
    assert placement.prepared_spacing_mm == (2.0, 1.0, 0.5)
    crop = image[0, 2:-2, 2:-2, 2:-2].transpose(2, 0, 1).astype(np.float64)
    # The case's max/min spacing is below 3 and the target's is 4, so the target's coarse axis goes apart.
    in_plane = np.stack([resize(part, (10, 16), order=3, mode="edge", clip=True, anti_aliasing=False) for part in crop])
    expected = in_plane[[int((i + 0.5) * 12 / 9) for i in range(9)]]
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(prepared.image[0], expected, atol=2e-5)


def test_background_outside_the_filled_mask_is_marked_and_inside_is_not():
    image = np.zeros((1, 5, 5, 5), dtype=np.float32)
    image[0, :, 1:4, 1:4] = 1
    image[0, 2, 2, 2] = 0  # a hole
    image[0, 0, 0, 0] = 1  # makes the box larger than the mask
    labels = np.zeros((5, 5, 5), dtype=np.int32)
    labels[4, 0, 0] = 2  # a label where the image is zero stays
    plan, configuration = _plan()
    found = prepare(image, labels, _grid((5, 5, 5)), plan, configuration).labels
    assert found[2, 2, 2] == 0
    assert found[1, 0, 0] == OUTSIDE
    assert found[4, 0, 0] == 2
    assert labels.min() == 0


def test_under_the_mask_rule_everything_outside_the_mask_is_zero_with_or_without_labels():
    image = np.zeros((2, 8, 8, 8), dtype=np.float32)
    rng = np.random.default_rng(0)
    image[:, :, 2:6, 2:6] = rng.normal(100, 5, size=(2, 8, 4, 4))
    image[:, 0, 0, 0] = image[:, 7, 7, 7] = 90
    plan, configuration = _plan(target=(1.0, 0.5, 0.5), masked=True, channels=2)
    labels = np.zeros((8, 8, 8), dtype=np.int32)
    with_labels = prepare(image, labels, _grid((8, 8, 8)), plan, configuration)
    without = prepare(image, None, _grid((8, 8, 8)), plan, configuration)
    assert without.labels is None
    assert np.array_equal(with_labels.image, without.image)
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[:, 2:6, 2:6] = True
    mask[0, 0, 0] = mask[7, 7, 7] = True
    fine = mask.repeat(2, axis=1).repeat(2, axis=2)
    for channel in without.image:
        assert not channel[~fine].any()
        assert abs(channel[fine].mean()) < 1e-5
        assert abs(channel[fine].std() - 1) < 1e-5


def test_a_2d_configuration_is_resampled_in_plane_only():
    image, labels = _case((6, 10, 12), margin=0)
    plan, configuration = _plan(target=(None, 0.5, 0.8), threshold=None, label_order=0)
    prepared = prepare(image, labels, _grid(labels.shape, (5.0, 1.0, 1.6)), plan, configuration)
    assert prepared.image.shape == (1, 6, 20, 24)
    assert prepared.placement.prepared_spacing_mm == (5.0, 0.5, 0.8)
    assert np.array_equal(prepared.labels, labels.repeat(2, axis=1).repeat(2, axis=2))


def test_a_2d_image_stays_one_slice():
    image, labels = _case((1, 10, 12), margin=0)
    plan, configuration = _plan(target=(None, 0.5, 1.0))
    prepared = prepare(image, labels, _grid(labels.shape), plan, configuration)
    assert prepared.image.shape == (1, 1, 20, 12)


def test_a_coarse_axis_takes_the_nearest_slice_in_2019_and_a_spline_in_2018():
    image, labels = _case((4, 8, 8), margin=0)
    grid = _grid(labels.shape, (4.0, 1.0, 1.0))
    separate = prepare(image, labels, grid, *_plan(target=(2.0, 1.0, 1.0), threshold=3.0)).image[0]
    together = prepare(image, labels, grid, *_plan(target=(2.0, 1.0, 1.0), threshold=None, label_order=0)).image[0]
    assert np.array_equal(separate[0::2], separate[1::2])
    assert not np.array_equal(together[0::2], together[1::2])


def test_header_noise_below_six_digits_does_not_change_the_shape():
    image, labels = _case((25, 6, 6), margin=0)
    plan, configuration = _plan(target=(0.6, 0.3, 0.3))
    for spacing in (0.3, float(np.float32(0.3)), 0.30000001):
        prepared = prepare(image, labels, _grid(labels.shape, (spacing, 0.3, 0.3)), plan, configuration)
        assert prepared.image.shape == (1, 12, 6, 6)  # 12.5, half to even


def test_the_inputs_are_left_alone():
    image, labels = _case((6, 7, 8))
    before = image.copy(), labels.copy()
    prepare(image, labels, _grid(labels.shape, (1.0, 2.0, 1.0)), *_plan())
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 1.0, 1.0), (1.0, 0.5, 1.0)])
def test_a_case_is_prepared_once_for_configurations_that_ask_for_the_same(spacing):
    rng = np.random.default_rng(0)
    image = rng.normal(10, 3, (1, 8, 9, 10)).astype(np.float32)
    labels = rng.integers(0, 3, (8, 9, 10))
    grid = _grid((8, 9, 10), spacing)
    plan, volume = _plan()
    _, plane = _plan(target=(None, 1.0, 1.0))
    _, nearest = _plan(label_order=0)
    together = prepare_each(image, labels, grid, plan, (volume, plane, nearest, volume))
    for found, configuration in zip(together, (volume, plane, nearest, volume), strict=True):
        alone = prepare(image, labels, grid, plan, configuration)
        assert np.array_equal(found.image, alone.image)
        assert np.array_equal(found.labels, alone.labels)
        assert found.placement == alone.placement
    assert together[0] is together[3]
    kept = spacing == (1.0, 1.0, 1.0)
    assert (together[0] is together[1]) == (together[0] is together[2]) == kept


@pytest.mark.parametrize(
    ("shape", "target", "order"),
    [
        ((40, 120, 128), (0.6, 0.6, 0.6), "3d"),
        ((6, 400, 400), (None, 0.6, 0.6), "2d"),
        ((40, 120, 128), (1.0, 0.6, 0.6), "2d, 3d"),
        ((40, 120, 128), (1.0, 0.6, 0.6), "3d, 2d"),
    ],
    ids=["as one volume", "slice by slice", "slices, then a volume", "a volume, then slices"],
)
def test_what_is_said_to_be_held_is_held(shape, target, order):
    image, _ = _case(shape, margin=0)
    grid = _grid(shape)
    plan, volume = _plan(target=target)
    _, plane = _plan(target=(None, *target[1:]))
    configurations = [{"2d": plane, "3d": volume}[name] for name in order.split(", ")]
    source = SourceSize(grid=grid, channels=1, stored_bytes=image.nbytes)
    ways = [source.way(plan, configuration) for configuration in configurations]
    assert [way.separate_axis for way in ways] == [{"2d": 0, "3d": None}[name] for name in order.split(", ")]
    prepare_each(image, None, grid, plan, configurations)  # matrices are kept from here on
    tracemalloc.start()
    try:
        prepared = prepare_each(image, None, grid, plan, configurations)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert prepared_bytes(source, ways) == sum({id(item): item.image.nbytes for item in prepared}.values())
    said = reading_bytes(source, ways, masked=False) - source.image_bytes
    assert 0.8 * said <= held <= said + _SCRATCH_BYTES, f"{held:,} held, {said:,} said"
