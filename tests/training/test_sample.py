from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nnbox.records.codec import decode, encode
from nnbox.training.draw import SamplingPlan, sampling_plan
from nnbox.training.patches import Arrays, cut_patch
from nnbox.training.sample import Sampler
from nnbox.training.store import load_image, load_labels, write_prepared


def variant(job, tiny, **changes):
    configuration = tiny.configuration(**changes)
    return dataclasses.replace(job, configuration=configuration, plan=tiny.plan(configuration))


def same(first, second):
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_a_batch_has_the_planned_shape_and_no_outside(job):
    batch = Sampler(sampling_plan(job)).batch(0)
    assert (batch.image.shape, batch.image.dtype) == ((3, 2, 8, 16, 16), np.float32)
    assert (batch.labels.shape, batch.labels.dtype) == ((3, 8, 16, 16), np.int16)
    assert batch.labels.min() == 0


def test_a_batch_depends_on_its_index_alone(job):
    plan = sampling_plan(job)
    forwards, backwards = Sampler(plan), Sampler(plan)
    ahead = [forwards.batch(index) for index in range(6)]
    back = [backwards.batch(index) for index in reversed(range(6))][::-1]
    for first, second in zip(ahead, back, strict=True):
        same(first, second)
    assert not np.array_equal(ahead[0].image, ahead[1].image)


def test_seed_and_unit_give_other_batches(job):
    plan = sampling_plan(job)
    first = Sampler(plan).batch(0)
    for change in ({"seed": 8}, {"unit": "3d_fullres/fold_1"}):
        assert not np.array_equal(first.image, Sampler(dataclasses.replace(plan, **change)).batch(0).image)


def test_the_last_samples_are_forced_and_hold_foreground(job):
    plan = sampling_plan(job)
    assert plan.forced == (False, False, True)
    sampler = Sampler(dataclasses.replace(plan, patch_size=(4, 4, 4)))
    labels = np.stack([sampler.batch(index).labels for index in range(0, 60, 5)])
    assert (labels[:, 2] > 0).any(axis=(1, 2, 3)).mean() > 0.95  # rotation and scaling may push a single voxel out
    assert (labels[:, :2] > 0).any(axis=(2, 3, 4)).mean() < 0.7


def test_a_forced_patch_is_centred_on_its_voxel_where_it_fits(job):
    plan = dataclasses.replace(sampling_plan(job), patch_size=(3, 3, 3), training_steps=1, validation_steps=1000)
    sampler = Sampler(plan)
    centres = [sampler.batch(index).labels[2, 1, 1, 1] for index in range(1, 41)]
    assert min(centres) > 0
    assert {1, 2} == set(centres)


def test_each_epoch_is_training_batches_then_validation_batches(job):
    plan = sampling_plan(job)
    assert (plan.training_steps, plan.validation_steps, plan.steps_per_epoch) == (4, 1, 5)
    whole = Sampler(plan)
    longer = Sampler(dataclasses.replace(plan, training_steps=6, validation_steps=2))
    same(whole.batch(5), longer.batch(4))  # the fifth training batch
    same(whole.batch(4), longer.batch(6))  # the first validation batch
    same(whole.batch(9), longer.batch(7))  # the second


def test_validation_patches_are_cut_from_validation_cases_unchanged(job, store, tiny):
    case = Arrays(image=load_image(store, "case_3"), labels=load_labels(store, "case_3"), previous=None)
    batch = Sampler(sampling_plan(job)).batch(4)
    sizes = (8, 16, 16)
    for image, labels in zip(batch.image, batch.labels, strict=True):
        places = np.ndindex(*(size - edge + 1 for size, edge in zip(case.labels.shape, sizes, strict=True)))
        patches = (cut_patch(case, start, sizes) for start in places)
        assert any(np.array_equal(patch.image, image) and np.array_equal(patch.labels, labels) for patch in patches)


def test_flat_patches_are_slices_of_the_first_axis(job, store, tiny):
    plan = sampling_plan(variant(job, tiny, name="2d", patch=(24, 16)))
    batch = Sampler(plan).batch(4)
    assert batch.image.shape == (3, 2, 24, 16)
    image = load_image(store, "case_3")
    padded = np.pad(image, ((0, 0), (0, 0), (0, 24 - image.shape[2]), (0, 0)))
    for sample in batch.image:
        candidates = [padded[:, z, :, x : x + 16] for z in range(12) for x in range(3)]
        assert any(np.array_equal(sample, candidate) for candidate in candidates)
    for index in range(4):
        assert Sampler(plan).batch(index).image.shape == (3, 2, 24, 16)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_wise_patch_never_mixes_its_slices(job, tiny, tmp_path, axis):
    # Each slice along the axis holds its own number in image and labels; whatever is drawn, a slice keeps its number.
    numbers = np.indices((30, 30, 30))[axis]
    arrays = dataclasses.replace(
        tiny.case(0), image=np.stack([numbers, numbers]).astype(np.float32), labels=(numbers % 3).astype(np.int16)
    )
    write_prepared(tmp_path, "case", arrays, tiny.grid((30, 30, 30)))
    flat = variant(job, tiny, patch=(8, 8, 8), dummy_2d_augmentation=True, dummy_2d_axis=axis)
    plan = dataclasses.replace(sampling_plan(flat), store=tmp_path, training_cases=("case",))
    assert plan.augmentation.slice_axis == axis
    plan = dataclasses.replace(plan, training_steps=30)
    mixed_in_3d = 0
    for index in range(20):
        batch = Sampler(plan).batch(index)
        in_3d = Sampler(dataclasses.replace(plan, augmentation=dataclasses.replace(plan.augmentation, slice_axis=None)))
        mixed_in_3d += sum(_mixes(labels, axis) for labels in in_3d.batch(index).labels)
        for labels in batch.labels:
            assert not _mixes(labels, axis)
    assert mixed_in_3d > 0


def _mixes(labels, axis):
    """Whether a slice holds two labels, background aside (a turned corner may lie outside of the case)."""
    return any(len(set(np.unique(part)) - {0}) > 1 for part in np.moveaxis(labels, axis, 0))


def test_a_patch_larger_than_the_case_is_padded_with_zeros_around_it(job, tiny):
    plan = sampling_plan(variant(job, tiny, patch=(16, 32, 32)))
    batch = Sampler(plan).batch(4)
    assert not batch.image[:, :, :2].any()
    assert not batch.image[:, :, -2:].any()
    assert batch.image[:, :, 2:-2].any()


def test_the_second_stage_sees_the_previous_labels_as_channels(job, previous_store, tiny):
    cascade = dataclasses.replace(variant(job, tiny, name="3d_cascade"), previous_store=previous_store)
    sampler = Sampler(sampling_plan(cascade))
    validation = sampler.batch(4)
    assert validation.image.shape == (3, 4, 8, 16, 16)
    for label in (1, 2):
        np.testing.assert_array_equal(validation.image[:, 1 + label], validation.labels == label)
    training = [sampler.batch(index) for index in range(4)]
    assert all(set(np.unique(batch.image[:, 2:])) <= {0.0, 1.0} for batch in training)
    assert any((batch.image[:, 2] != (batch.labels == 1)).any() for batch in training)


def test_a_case_without_foreground_gives_a_random_patch(job, tiny, tmp_path):
    arrays = dataclasses.replace(tiny.case(0), labels=np.zeros((12, 20, 18), dtype=np.int16))
    write_prepared(tmp_path, "empty", arrays, tiny.grid((12, 20, 18)))
    plan = dataclasses.replace(sampling_plan(job), store=tmp_path, training_cases=("empty",))
    assert not Sampler(plan).batch(0).labels.any()


def test_few_cases_are_kept_open(job, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("nnbox.training.sample.MOST_OPEN_CASES", 2)
    sampler = Sampler(sampling_plan(job))
    for index in range(10):
        sampler.batch(index)
        assert len(sampler._open) <= 2


def test_a_plan_travels_as_json(job):
    plan = sampling_plan(job)
    assert decode(encode(plan), SamplingPlan, where="test") == plan


@pytest.mark.parametrize("workers", [0, 5])
def test_the_plan_does_not_know_the_number_of_workers(job, workers):
    assert sampling_plan(dataclasses.replace(job, workers=workers)) == sampling_plan(job)
