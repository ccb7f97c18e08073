from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from nnbox.errors import DataError, RecordError
from nnbox.records.codec import read_record, write_record
from nnbox.records.prepared import PreviousPrediction
from nnbox.training.loop import train_fold
from nnbox.training.store import (
    MOST_VOXELS_PER_LABEL,
    case_record,
    check_previous,
    draw_voxels,
    load_image,
    load_labels,
    load_prepared,
    load_previous,
    load_voxels,
    previous_paths,
    store_paths,
    write_prepared,
    write_previous,
    write_to_stores,
)


def test_what_is_written_is_read_back(tmp_path, tiny):
    arrays = tiny.case(1)
    grid = tiny.grid(arrays.labels.shape)
    written = write_prepared(tmp_path, "a case", arrays, grid)
    assert load_prepared(tmp_path, "a case") == written
    assert (written.grid, written.placement) == (grid, arrays.placement)
    np.testing.assert_array_equal(load_image(tmp_path, "a case"), arrays.image)
    np.testing.assert_array_equal(load_labels(tmp_path, "a case"), arrays.labels)
    assert written.class_voxels == ((arrays.labels == 1).sum(), (arrays.labels == 2).sum())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in store_paths(tmp_path, "a case")
    )
    assert case_record(tmp_path, "a case") == store_paths(tmp_path, "a case")[-1]


@pytest.mark.parametrize("shape", [(3, 5, 7), (16, 33, 65), (40, 64, 64)])
@pytest.mark.parametrize("filled", [slice(0, 0), slice(0, 2), slice(1, 3), slice(-1, None), slice(None)])
def test_blocks_of_zeros_are_read_back_as_zeros(tmp_path, tiny, shape, filled):
    image, labels = np.zeros((2, *shape), np.float32), np.zeros(shape, np.int16)
    image[1, filled], labels[filled] = 1.5, -1
    arrays = dataclasses.replace(tiny.case(1), image=image, labels=labels)
    states = write_to_stores((tmp_path,), "case", arrays, tiny.grid(shape))
    np.testing.assert_array_equal(load_image(tmp_path, "case"), image)
    np.testing.assert_array_equal(load_labels(tmp_path, "case"), labels)
    for path, state in states.items():
        assert state.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_blocks_of_zeros_take_no_space(tmp_path, tiny):
    shape = (64, 128, 128)
    labels = np.zeros(shape, np.int16)
    labels[30:32] = 1
    arrays = dataclasses.replace(tiny.case(1), image=np.ones((1, *shape), np.float32), labels=labels)
    write_prepared(tmp_path, "case", arrays, tiny.grid(shape))
    image, mask = (path.stat() for path in store_paths(tmp_path, "case")[:2])
    assert mask.st_blocks * 512 < mask.st_size / 8
    assert image.st_blocks * 512 >= image.st_size


def test_stores_that_prepare_alike_hold_one_file_under_two_names(tmp_path, tiny):
    arrays = tiny.case(1)
    folders = (tmp_path / "2d", tmp_path / "3d")
    states = write_to_stores(folders, "case", arrays, tiny.grid(arrays.labels.shape))
    first, second = (store_paths(folder, "case") for folder in folders)
    assert set(states) == {*first, *second}
    for one, other in zip(first, second, strict=True):
        assert one.samefile(other)
        assert states[one] == states[other]
        assert states[one].sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
        assert (states[one].size_bytes, states[one].modified_ns) == (one.stat().st_size, one.stat().st_mtime_ns)
    write_prepared(folders[0], "case", tiny.case(0), tiny.grid((12, 20, 18)))
    np.testing.assert_array_equal(load_image(folders[1], "case"), arrays.image)


def test_an_array_file_is_what_numpy_would_write(tmp_path, tiny):
    arrays = tiny.case(1)
    write_prepared(tmp_path, "case", arrays, tiny.grid(arrays.labels.shape))
    np.save(tmp_path / "expected.npy", arrays.image)
    assert (tmp_path / "expected.npy").read_bytes() == (tmp_path / "case.image.npy").read_bytes()


def test_arrays_are_mapped_and_read_only(store):
    image = load_image(store, "case_0")
    assert isinstance(image, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        image[...] = 0


def test_a_case_without_foreground_can_be_stored(tmp_path, tiny):
    arrays = dataclasses.replace(tiny.case(0), labels=np.zeros((12, 20, 18), dtype=np.int16))
    assert write_prepared(tmp_path, "empty", arrays, tiny.grid((12, 20, 18))).class_voxels == ()
    assert load_voxels(tmp_path, "empty").shape == (0, 4)


def test_a_case_without_labels_is_not_stored(tmp_path, tiny):
    with pytest.raises(ValueError, match="has no labels"):
        write_prepared(tmp_path, "x", dataclasses.replace(tiny.case(0), labels=None), tiny.grid((12, 20, 18)))


def test_drawn_voxels_hold_their_label_and_are_all_of_a_small_one():
    labels = np.zeros((30, 40, 50), dtype=np.int16)
    labels[:, :20] = 1
    labels[3:5, 30:32, 7] = 3
    labels[0] = -1
    drawn = draw_voxels("case", labels)
    np.testing.assert_array_equal(labels[tuple(drawn[:, 1:].T)], drawn[:, 0])
    found, counts = np.unique(drawn[:, 0], return_counts=True)
    assert dict(zip(found, counts, strict=True)) == {1: MOST_VOXELS_PER_LABEL, 3: 4}
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    np.testing.assert_array_equal(drawn, draw_voxels("case", labels))
    assert not np.array_equal(drawn, draw_voxels("other", labels))


def test_a_truncated_array_is_named(tmp_path, store):
    for path in store_paths(store, "case_1"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"case case_1, case_1\.image\.npy: it cannot be read"):
        load_image(tmp_path, "case_1")
    with pytest.raises(RecordError, match="not valid JSON"):
        load_prepared(tmp_path, "case_1")


def test_out_of_fold_predictions_are_accepted(store, previous_store, tiny):
    cases = (*tiny.training, *tiny.validation)
    check_previous(previous_store, store, cases)
    expected = np.maximum(load_labels(store, "case_2"), 0)
    np.testing.assert_array_equal(load_previous(previous_store, "case_2"), expected)


def test_two_predictions_that_were_swapped_are_seen(job, previous_store, store, tiny):
    one, two = (previous_paths(previous_store, case) for case in ("case_0", "case_1"))
    for first, second in zip(one, two, strict=True):
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
    with pytest.raises(DataError, match=r"case case_0.*the prediction is of case case_1"):
        load_previous(previous_store, "case_0")
    configuration = tiny.configuration("3d_cascade")
    cascade = dataclasses.replace(job, configuration=configuration, previous_store=previous_store)
    with pytest.raises(DataError, match="the prediction is of case"):
        train_fold(cascade, report=lambda _: None)


def test_two_predictions_swapped_with_their_names_rewritten_are_seen(previous_store):
    """Case 0 gets the prediction that fold 1's model made, which was trained on case 0."""
    (_, record_0), (_, record_1) = (previous_paths(previous_store, case) for case in ("case_0", "case_1"))
    foreign = read_record(record_1, PreviousPrediction)
    write_record(record_0, dataclasses.replace(foreign, case="case_0"))
    with pytest.raises(DataError, match=r"case case_0.*3d_lowres of fold 1 predicted it and was trained on it"):
        load_previous(previous_store, "case_0")


def test_arrays_that_were_swapped_alone_are_seen(store, previous_store):
    (array_0, _), (array_1, _) = (previous_paths(previous_store, case) for case in ("case_0", "case_1"))
    array_0.write_bytes(array_1.read_bytes())
    with pytest.raises(DataError, match=r"case case_0.*not the one that was written"):
        check_previous(previous_store, store, ("case_0",))


def test_a_prediction_on_another_grid_is_seen(store, previous_store):
    origin = read_record(previous_paths(previous_store, "case_0")[1], PreviousPrediction)
    write_previous(previous_store, np.zeros((2, 3, 4), dtype=np.uint8), origin)
    with pytest.raises(DataError, match=r"has shape \(2, 3, 4\); expected the shape \(12, 20, 18\)"):
        check_previous(previous_store, store, ("case_0",))


def test_a_prediction_by_a_model_that_saw_the_case_is_not_even_written(tmp_path):
    origin = PreviousPrediction(case="a", configuration="3d_lowres", model_folds=(0, 1), trained_on=("b", "a"))
    with pytest.raises(DataError, match="was trained on it"):
        write_previous(tmp_path, np.zeros((2, 2, 2), dtype=np.uint8), origin)
    assert not list(tmp_path.iterdir())
