"""The documented input format of fingerprints that were not made here."""

from __future__ import annotations

import json

import pytest

from nnbox.errors import RecordError, UsageError
from nnbox.records.codec import encode
from nnbox.records.dataset import Choices
from nnbox.records.fingerprint import Fingerprint
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.planning import make_plan


def _task(**changes):
    return {
        "num_training": 2,
        "channels": ["ct", "T1 CT-like"],
        "labels": ["liver", "cancer"],
        "median_relative_size_after_cropping": 0.7,
        "spacings_zyx_mm": [[2.0, 1.0, 1.0], [3, 1.0, 1.0]],
        "shapes_after_crop_zyx": [[10, 20, 30], [12, 24, 36]],
        **changes,
    }


def _read(document, task=None):
    return fingerprint_from_json(json.loads(json.dumps(document)), task=task, where="file.json")


def test_one_task_is_read():
    found = _read(_task(), "Task50_Mine")
    assert found.task == "Task50_Mine"
    assert found.dimension == 3
    assert [(channel.name, channel.is_ct) for channel in found.channels] == [("ct", True), ("T1 CT-like", False)]
    assert [(label.value, label.name) for label in found.labels] == [(1, "liver"), (2, "cancer")]
    assert found.cases[1].spacing_mm == (3.0, 1.0, 1.0)
    assert found.cases[1].shape_vox == (12, 24, 36)
    assert found.intensities is None


def test_the_share_left_by_cropping_reaches_the_mask_rule():
    for ratio, masked in ((0.7, True), (0.8, False)):
        document = _task(channels=["MR"], median_relative_size_after_cropping=ratio)
        for recipe in ("2018", "2019"):
            plan = make_plan(_read(document), recipe=recipe, choices=Choices())
            assert plan.normalizations[0].use_nonzero_mask is masked


def test_channels_and_labels_may_be_numbered():
    found = _read(_task(channels={"1": "T2", "0": "CT"}, labels={"0": "background", "2": "b", "1": "a"}))
    assert [channel.name for channel in found.channels] == ["CT", "T2"]
    assert [label.name for label in found.labels] == ["a", "b"]


def test_cases_of_one_slice_are_images_of_two_dimensions():
    assert _read(_task(shapes_after_crop_zyx=[[1, 20, 30], [1, 24, 36]])).dimension == 2
    assert _read(_task(shapes_after_crop_zyx=[[1, 20, 30], [2, 24, 36]])).dimension == 3


def test_a_file_of_many_tasks_needs_the_task_named():
    document = {"Task01_A": _task(), "Task02_B": _task(labels=["x"])}
    assert len(_read(document, "Task02_B").labels) == 1
    with pytest.raises(UsageError, match="holds several tasks; choose one with --task: Task01_A, Task02_B"):
        _read(document)
    with pytest.raises(UsageError, match="does not hold the task 'Task03'"):
        _read(document, "Task03")
    assert _read({"Task01_A": _task()}).task == "Task01_A"


def test_our_own_record_is_read_as_it_is(make_fingerprint):
    fingerprint = make_fingerprint((10, 20, 30), (1.0, 2.0, 3.0), cases=2)
    document = {"record": Fingerprint.RECORD, "version": Fingerprint.VERSION, **encode(fingerprint)}
    assert _read(document) == fingerprint
    with pytest.raises(UsageError, match="is the fingerprint of Task99_Made, not of Other"):
        _read(document, "Other")
    with pytest.raises(RecordError, match="version"):
        _read({**document, "version": 99})
    with pytest.raises(RecordError, match="expected 2 or 3, found 4"):
        _read({**document, "dimension": 4})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "a JSON object with a fingerprint is expected"),
        (None, "a JSON object with a fingerprint is expected"),
        ({}, "no fingerprint in it"),
        ({"a": 1}, "no fingerprint in it"),
        (_task(num_training=3), "num_training is 3, but there are 2 spacings and 2 shapes"),
        (_task(channels="CT"), "expected a list"),
        (_task(channels=[]), "at least one name"),
        (_task(labels=[]), "at least one name"),
        (_task(labels={"one": "a"}), "a list of names, or an object from number to name"),
        (_task(labels=[1, 2]), r"labels\[0\]: expected a str"),
        (_task(spacings_zyx_mm=[[1.0, 1.0], [1.0, 1.0]]), "expected a list of 3"),
        (_task(spacings_zyx_mm=[[0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]), "spacings must be positive"),
        (_task(spacings_zyx_mm=[["a", 1.0, 1.0], [1.0, 1.0, 1.0]]), "expected a finite number"),
        (_task(shapes_after_crop_zyx=[[0, 1, 1], [1, 1, 1]]), "sizes must be at least 1 voxel"),
        (_task(shapes_after_crop_zyx=[[1.5, 1, 1], [1, 1, 1]]), "expected a int"),
        (_task(median_relative_size_after_cropping=0), "must be in"),
        (_task(median_relative_size_after_cropping=1.5), "must be in"),
        (_task(surplus=1), "unknown field 'surplus'"),
        ({"num_training": 1}, "is missing"),
    ],
)
def test_a_wrong_document_is_explained(document, words):
    with pytest.raises(RecordError, match=words) as caught:
        _read(document)
    assert str(caught.value).startswith("file.json")


def test_a_fingerprint_without_cases_is_left_to_the_planner():
    found = _read(_task(num_training=0, spacings_zyx_mm=[], shapes_after_crop_zyx=[]))
    assert found.cases == ()
