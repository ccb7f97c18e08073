"""What is not wrong but would make a worse model is a warning with its remedy."""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.errors import Severity
from nnbox.intake.advice import patient_warnings
from nnbox.records.dataset import Case


def warnings_of(result):
    result.require_dataset()
    assert all(problem.severity is Severity.WARNING for problem in result.problems)
    assert result.require_dataset().warnings == result.problems
    return "\n".join(problem.sentence() for problem in result.problems)


def named(*names):
    return [Case(name=name, images=(f"{name}.nii",), label=None, output_name=f"{name}.nii") for name in names]


def shift(path, by):
    image = sitk.ReadImage(str(path))
    moved = sitk.GetImageFromArray((sitk.GetArrayFromImage(image) + by).astype(np.float32))
    moved.CopyInformation(image)
    sitk.WriteImage(moved, str(path))


def test_hu_like_values_in_a_channel_of_another_name_are_a_warning(toy):
    toy.decathlon()
    for name in toy.names():
        shift(toy.image(name), -1000)
    text = warnings_of(toy.take_in())
    assert "channel 0 (T1) reaches down to -1000, like Hounsfield units" in text
    assert "--channels CT" in text
    result = toy.take_in(channels=("CT",))
    assert result.problems == ()
    assert result.require_dataset().channels[0].is_ct


def test_hu_like_values_without_any_name_are_an_error_that_asks(toy):
    toy.bare()
    for name in toy.names():
        shift(toy.image(name), -1000)
    (problem,) = toy.take_in().errors
    assert "--channels CT if it is CT" in problem.remedy
    assert "--channels MRI if it is not" in problem.remedy
    assert not toy.take_in(channels=("CT",)).problems
    assert toy.take_in(channels=("MRI",)).require_dataset().channels[0].name == "MRI"


def test_other_values_without_any_name_need_no_name(toy):
    dataset = toy.bare().take_in().require_dataset()
    assert [channel.name for channel in dataset.channels] == ["channel_0"]
    assert [(label.value, label.name) for label in dataset.labels] == [(2, "label_2"), (5, "label_5")]


def test_mixed_orientations_are_told(toy):
    toy.decathlon()
    for path in (toy.image("toy_b"), toy.label("toy_b")):
        image = sitk.ReadImage(str(path))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        sitk.WriteImage(image, str(path))
    text = warnings_of(toy.take_in())
    assert "4 SPL (e.g. toy_a); 1 SAR (e.g. toy_b)" in text


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("left kidney", "right kidney"), True),
        (("Kidney_L", "Kidney_R"), True),
        (("KidneyLeft", "KidneyRight"), True),
        (("left kidney", "liver"), False),
        (("bright", "blight"), False),
    ],
)
def test_left_and_right_labels_under_mirroring_are_told(make_toy, names, told):
    toy = make_toy("sides", labels=dict(zip((2, 5), names, strict=True))).decathlon()
    result = toy.take_in()
    assert bool(result.problems) is told
    if told:
        assert "mirroring along x swaps the sides" in warnings_of(result)
        assert "--mirror-axes z,y" in warnings_of(result)
    assert toy.take_in(mirror_axes=("z", "y")).problems == ()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("patient001_01", "patient001_02", "patient002_01"), True),
        (("p1-a", "p1-b", "p2-a"), True),
        (("patient001_frame01", "patient001_frame12", "patient002_frame01"), True),
        (("s1_t1", "s1_t2", "s3_t1"), True),
        (("hippocampus_001", "hippocampus_002", "hippocampus_003"), False),
        (("sts_01", "sts_02", "sts_03"), False),
        (("BRATS20_001", "BRATS20_002"), False),
        (("case1_1", "case2_1", "case3_1"), False),
        (("a", "b", "c"), False),
    ],
)
def test_names_that_look_like_repeated_patients_are_told(names, told):
    found = patient_warnings(named(*names))
    assert bool(found) is told
    if told:
        assert "--patients" in found[0].remedy
        assert names[0] in found[0].what


def rename_to_patients(toy):
    """Give the cases the names of two scans each of three patients."""
    names = {name: f"p{index // 2}_{index % 2}" for index, name in enumerate(toy.names())}
    for old, new in names.items():
        toy.image(old).rename(toy.image(new))
        toy.label(old).rename(toy.label(new))
    return list(names.values())


def test_patients_beside_the_json_are_read_without_being_asked(make_toy, tmp_path):
    toy = make_toy("patients", count=6).nnunet_v2()
    (toy.root / "patients.json").write_text(json.dumps({"toy_a": "one", "toy_b": "one", "toy_c": 2, "gone": "x"}))
    result = toy.take_in()
    patients = [case.patient for case in result.require_dataset().cases]
    assert patients == ["one", "one", "2", None, None, None]
    assert "gone" in warnings_of(result)
    assert "toy_d, toy_e, toy_f" in warnings_of(result)
    given = tmp_path / "given.json"
    given.write_text(json.dumps({name: "same" if name in "toy_a toy_b" else name for name in toy.names()}))
    assert toy.take_in(patients=given).require_dataset().cases[2].patient == "toy_c"


def test_repeated_patients_are_told_unless_patients_are_given(make_toy):
    toy = make_toy("repeated", count=6)
    toy.write_images(split=False)
    names = rename_to_patients(toy)
    text = warnings_of(toy.take_in())
    assert "p0_0, p0_1 of p0 (3 such patients)" in text
    (toy.root / "patients.json").write_text(json.dumps({name: name[:2] for name in names}))
    assert "there are only 3 patients" in warnings_of(toy.take_in())
    assert "3 such patients" not in warnings_of(toy.take_in())


@pytest.mark.parametrize("text", ["[]", "{", '{"a": ["b"]}', '{"a": true}'])
def test_a_table_of_patients_that_is_none_is_an_error(toy, text):
    toy.decathlon()
    (toy.root / "patients.json").write_text(text)
    (problem,) = toy.take_in().errors
    assert problem.file == "patients.json"


def test_fewer_cases_than_folds_is_said_aloud_and_one_case_is_an_error(make_toy):
    text = warnings_of(make_toy("three", count=3).decathlon().take_in())
    assert "there are only 3 labelled cases" in text
    assert "cross-validation uses 3 folds" in text
    (problem,) = make_toy("one", count=1).decathlon().take_in().errors
    assert "there is only 1 labelled case;" in problem.sentence()


def test_equal_images_are_told(toy):
    toy.decathlon()
    for folder in (toy.image, toy.label):
        folder("toy_b").write_bytes(folder("toy_a").read_bytes())
    text = warnings_of(toy.take_in())
    assert "the images of toy_a, toy_b are equal" in text
    assert "--exclude toy_b" in text


def splits(toy, folds):
    path = toy.root.parent / "splits.json"
    path.write_text(json.dumps(folds))
    return toy.take_in(splits=path)


def test_ready_folds_are_taken_in_both_forms(toy):
    toy.decathlon()
    names = toy.names()
    expected = (("toy_a", "toy_b", "toy_c"), ("toy_d", "toy_e"))
    assert splits(toy, [names[2::-1], names[3:]]).require_dataset().folds == expected
    nnunet = [{"train": names[3:], "val": names[:3]}, {"train": names[:3], "val": names[3:]}]
    result = splits(toy, nnunet)
    assert (result.require_dataset().folds, result.problems) == (expected, ())


def test_excluded_cases_leave_the_ready_folds(toy):
    toy.decathlon()
    path = toy.root.parent / "splits.json"
    path.write_text(json.dumps([toy.names()[:3], toy.names()[3:]]))
    result = toy.take_in(splits=path, exclude=("toy_a",))
    assert result.require_dataset().folds == (("toy_b", "toy_c"), ("toy_d", "toy_e"))


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        ([["toy_a", "toy_b"], ["toy_c", "toy_d", "toy_e", "toy_q"]], "it names toy_q"),
        ([["toy_a", "toy_b", "toy_c"], ["toy_c", "toy_d", "toy_e"]], "toy_c lie in several validation sets"),
        ([["toy_a", "toy_b"], ["toy_c", "toy_d"]], "toy_e lie in no validation set"),
        ([["toy_a", "toy_b", "toy_c", "toy_d", "toy_e"]], "it has 1 fold(s)"),
        ([["toy_a", "toy_b", "toy_c", "toy_d", "toy_e"], []], "fold 1 has no validation case"),
        ({"a": 1}, "no list of folds"),
        ([["toy_a", 3]], "no list of folds"),
        ([{"train": ["toy_a"]}], "no list of folds"),
        ([], "no list of folds"),
    ],
)
def test_folds_that_are_no_partition_are_refused(toy, folds, words):
    toy.decathlon()
    result = splits(toy, folds)
    assert result.dataset is None
    assert words in "\n".join(problem.sentence() for problem in result.errors)


def test_folds_that_train_on_their_validation_cases_or_split_a_patient_are_refused(toy):
    toy.decathlon()
    names = toy.names()
    leaking = [{"train": names, "val": names[:3]}, {"train": names[:3], "val": names[3:]}]
    assert "trains on its own validation cases" in splits(toy, leaking).errors[0].what
    (toy.root / "patients.json").write_text(json.dumps({name: "p" if name in names[2:4] else name for name in names}))
    assert "patient p lie in several folds" in splits(toy, [names[:3], names[3:]]).errors[0].what


def test_folds_that_leave_cases_untrained_are_a_warning(toy):
    toy.decathlon()
    names = toy.names()
    partial = [{"train": names[3:4], "val": names[:3]}, {"train": names[:3], "val": names[3:]}]
    assert "fold 0 does not train on toy_e" in warnings_of(splits(toy, partial))


def test_a_missing_table_is_told(toy, tmp_path):
    toy.decathlon()
    result = toy.take_in(splits=tmp_path / "no.json", patients=tmp_path / "none.json")
    assert {problem.file for problem in result.errors} == {"no.json", "none.json"}
