"""Layouts are recognised from names and JSON alone."""

import json

import pytest

from nnbox.errors import Severity, UsageError
from nnbox.layouts.detect import detect, find_tasks
from nnbox.records.dataset import Label


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")


def describe(root, **document):
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(document))


def words(problems):
    return "\n".join(problem.sentence() for problem in problems)


def decathlon(root, names=("a", "b"), tests=("t",), **changes):
    touch(root, *(f"{folder}/{name}.nii.gz" for folder in ("imagesTr", "labelsTr") for name in names))
    touch(root, *(f"imagesTs/{name}.nii.gz" for name in tests))
    document = {
        "name": "Toy",
        "modality": {"0": "CT", "1": "PET"},
        "labels": {"0": "background", "4": "tumour", "2": "liver"},
        "numTraining": len(names),
        "numTest": len(tests),
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names],
        "test": [f"./imagesTs/{n}.nii.gz" for n in tests],
    }
    describe(root, **{**document, **changes})
    return detect(root)


def v2(root, names=("a", "b"), channels=("CT",), labels=None, **changes):
    touch(root, *(f"imagesTr/{n}_{c:04d}.nii.gz" for n in names for c in range(len(channels))))
    touch(root, *(f"labelsTr/{n}.nii.gz" for n in names))
    document = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": labels if labels is not None else {"background": 0, "liver": 2, "tumour": 4},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    describe(root, **{**document, **changes})
    return detect(root)


def test_a_decathlon_data_set_is_read_as_its_json_says(tmp_path):
    draft = decathlon(tmp_path)
    assert (draft.layout, draft.task, draft.channels) == ("decathlon", "Toy", ("CT", "PET"))
    assert draft.labels == (Label(value=2, name="liver"), Label(value=4, name="tumour"))
    assert [(case.name, case.images, case.label) for case in draft.cases] == [
        ("a", ("imagesTr/a.nii.gz",), "labelsTr/a.nii.gz"),
        ("b", ("imagesTr/b.nii.gz",), "labelsTr/b.nii.gz"),
    ]
    assert [(case.name, case.output_name, case.label) for case in draft.test_cases] == [("t", "t.nii.gz", None)]
    assert draft.problems == draft.training_problems == ()


def test_test_images_may_be_objects(tmp_path):
    assert [c.name for c in decathlon(tmp_path, test=[{"image": "imagesTs/t.nii.gz"}]).test_cases] == ["t"]


def test_an_empty_test_list_means_what_lies_in_the_folder(tmp_path):
    assert [case.name for case in decathlon(tmp_path, tests=("t", "u"), test=[], numTest=2).test_cases] == ["t", "u"]


def test_stray_files_of_a_mac_and_the_own_folder_do_not_count(tmp_path):
    touch(tmp_path, "imagesTr/._a.nii.gz", "imagesTr/.DS_Store", "labelsTr/._a.nii.gz", "nnbox/model/x.nii.gz")
    assert decathlon(tmp_path).problems == ()
    flat = tmp_path / "flat"
    touch(flat, "._a.nii.gz", ".DS_Store", "a.nii.gz", "nnbox/b.nii.gz", "notes.txt")
    assert [case.name for case in detect(flat).test_cases] == ["a"]


def test_files_that_the_json_leaves_out_are_told(tmp_path):
    touch(tmp_path, "imagesTr/z.nii.gz", "labelsTr/z.nii.gz")
    draft = decathlon(tmp_path)
    assert "not listed in dataset.json and are not used: z.nii.gz" in words(draft.problems)
    assert all(problem.severity is Severity.WARNING for problem in draft.problems)


@pytest.mark.parametrize(("key", "value"), [("numTraining", 7), ("numTraining", "2"), ("numTest", 3)])
def test_a_wrong_count_is_a_warning(tmp_path, key, value):
    (problem,) = decathlon(tmp_path, **{key: value}).problems
    assert problem.severity is Severity.WARNING
    assert key in problem.sentence()
    assert repr(value) in problem.sentence()


def test_missing_files_are_told_each_with_its_case(tmp_path):
    decathlon(tmp_path, names=("a", "b", "c", "d"))
    (tmp_path / "labelsTr/a.nii.gz").unlink()
    (tmp_path / "imagesTr/b.nii.gz").unlink()
    (tmp_path / "imagesTr/c.nii.gz").unlink()
    (tmp_path / "labelsTr/c.nii.gz").unlink()
    (tmp_path / "imagesTs/t.nii.gz").unlink()
    draft = detect(tmp_path)
    text = words((*draft.training_problems, *draft.problems))
    assert "case a, imagesTr/a.nii.gz: the label is missing" in text
    assert "case b, labelsTr/b.nii.gz: the label has no image" in text
    assert "case c, imagesTr/c.nii.gz: dataset.json lists it, but the file is missing" in text
    assert "case t, imagesTs/t.nii.gz" in text
    assert all(f"--exclude {case}" in text for case in "abct")
    assert [case.name for case in draft.cases] == ["d"]


def test_a_case_listed_twice_is_told(tmp_path):
    entry = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}
    draft = decathlon(tmp_path, names=("a",), training=[entry, entry], numTraining=2)
    assert "case a" in words(draft.training_problems)
    assert "twice" in words(draft.training_problems)


@pytest.mark.parametrize("path", ["../x.nii.gz", "/etc/x.nii.gz", "imagesTr/a.txt", 7, None, "a\0.nii.gz", "x" * 300])
def test_a_path_that_leaves_the_data_set_or_names_no_image_is_refused(tmp_path, path):
    draft = decathlon(tmp_path, names=("a",), training=[{"image": path, "label": "labelsTr/a.nii.gz"}])
    assert 'entry 0 of "training"' in words(draft.training_problems)
    assert draft.cases == ()


def test_nnunet_v1_names_the_case_and_stores_its_channels(tmp_path):
    decathlon(tmp_path)
    for folder in ("imagesTr", "imagesTs"):
        for file in list((tmp_path / folder).iterdir()):
            for channel in range(2):
                touch(tmp_path, f"{folder}/{file.name[0]}_{channel:04d}.nii.gz")
            file.unlink()
    draft = detect(tmp_path)
    assert draft.layout == "nnunet_v1"
    assert draft.cases[0].images == ("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz")
    assert [(case.name, case.output_name) for case in draft.test_cases] == [("t", "t.nii.gz")]
    assert draft.problems == draft.training_problems == ()
    (tmp_path / "imagesTr/a_0001.nii.gz").unlink()
    assert "channel file _0001 is missing" in words(detect(tmp_path).training_problems)


def test_nnunet_v2_raw(tmp_path):
    draft = v2(tmp_path, channels=("CT", "PET"))
    assert (draft.layout, draft.channels) == ("nnunet_v2", ("CT", "PET"))
    assert draft.labels == (Label(value=2, name="liver"), Label(value=4, name="tumour"))
    assert draft.cases[1].images == ("imagesTr/b_0000.nii.gz", "imagesTr/b_0001.nii.gz")
    assert draft.cases[1].output_name == "b.nii.gz"
    assert draft.problems == draft.training_problems == ()


def test_nnunet_v2_may_list_its_files(tmp_path):
    table = {"a": {"images": ["elsewhere/one.nii.gz"], "label": "elsewhere/two.nii.gz"}}
    touch(tmp_path, "elsewhere/one.nii.gz", "elsewhere/two.nii.gz")
    draft = v2(tmp_path, names=(), dataset=table, numTraining=1)
    assert [(case.name, case.images) for case in draft.cases] == [("a", ("elsewhere/one.nii.gz",))]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"background": 0, "whole": [1, 2], "core": 2}, 'label "whole" is a region'),
        ({"background": 0, "a": 1, "ignore": 2}, "ignore label (value 2)"),
        ({"background": 0, "a": 1, "b": 1}, "have the same value 1"),
        ({"background": 0, "a": 1.5}, "is 1.5"),
        ({"background": 0, "a": -1}, "is -1"),
        ({"background": 0, "a": 70000}, "is 70000"),
        ({"background": 0, "a": True}, "is True"),
        ({"background": 0}, "names no foreground"),
        ([], '"labels" is []'),
    ],
)
def test_labels_that_cannot_be_learned_are_refused_in_words(tmp_path, labels, expected):
    draft = v2(tmp_path, labels=labels)
    assert draft.labels is None
    assert expected in words(draft.problems)
    assert "dataset.json" in words(draft.problems)


@pytest.mark.parametrize("modality", [{}, "CT", {"1": "CT"}, {"a": "CT"}, {"0": 3}, {"0": "CT", "2": "PET"}, None])
def test_channels_that_make_no_sense_are_refused_in_words(tmp_path, modality):
    draft = decathlon(tmp_path, modality=modality)
    assert draft.channels is None
    assert '"modality"' in words(draft.problems)


def test_a_folder_without_json_is_read_by_its_names(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTr/b.mha", "labelsTr/a.nrrd", "labelsTr/b.nii", "imagesTs/c.nii.gz")
    draft = detect(tmp_path)
    assert (draft.layout, draft.channels, draft.labels) == ("bare", None, None)
    assert [(case.name, case.images, case.label) for case in draft.cases] == [
        ("a", ("imagesTr/a.nii.gz",), "labelsTr/a.nrrd"),
        ("b", ("imagesTr/b.mha",), "labelsTr/b.nii"),
    ]
    assert [case.name for case in draft.test_cases] == ["c"]


def test_labels_tell_whether_a_number_is_a_channel(tmp_path):
    touch(tmp_path / "c", *(f"imagesTr/a_000{i}.nii.gz" for i in range(2)), "labelsTr/a.nii.gz", "imagesTs/z_0000.mha")
    draft = detect(tmp_path / "c")
    assert [len(case.images) for case in draft.cases] == [2]
    assert draft.test_cases[0].output_name == "z.mha"
    touch(tmp_path / "d", *(f"{folder}/a_000{i}.nii.gz" for i in range(2) for folder in ("imagesTr", "labelsTr")))
    assert [case.name for case in detect(tmp_path / "d").cases] == ["a_0000", "a_0001"]


def test_without_partner_is_told_on_both_sides(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTr/b.nii.gz", "labelsTr/b.nii.gz", "labelsTr/c.nii.gz")
    text = words(detect(tmp_path).training_problems)
    assert "case a, imagesTr/a.nii.gz: the label is missing" in text
    assert "case c, labelsTr/c.nii.gz: the label has no image" in text


def test_two_files_of_one_case_name_are_told(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "imagesTr/a.mha", "labelsTr/a.nii.gz", "imagesTs/b.nii.gz")
    draft = detect(tmp_path)
    assert "imagesTr/a.mha, imagesTr/a.nii.gz" in words(draft.training_problems)
    assert draft.cases == ()


def test_a_test_image_with_the_name_of_a_training_case_is_told(tmp_path):
    touch(tmp_path, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTs/a.nii.gz")
    draft = detect(tmp_path)
    assert "bears the name of the labelled case" in words(draft.problems)
    assert draft.test_cases == ()


def test_flat_folders_group_channels_by_name_or_by_count(tmp_path):
    touch(tmp_path, *(f"{case}_000{channel}.nii.gz" for case in "ab" for channel in range(2)))
    assert [len(case.images) for case in detect(tmp_path).test_cases] == [2, 2]
    assert [len(case.images) for case in detect(tmp_path, channel_count=2).test_cases] == [2, 2]
    assert len(detect(tmp_path, channel_count=1).test_cases) == 4


def test_flat_numbers_from_one_are_cases(tmp_path):
    touch(tmp_path, *(f"scan_{number:04d}.png" for number in range(1, 4)))
    draft = detect(tmp_path)
    assert [case.name for case in draft.test_cases] == ["scan_0001", "scan_0002", "scan_0003"]
    assert draft.dimension == 2


def test_an_empty_folder_is_told(tmp_path):
    draft = detect(tmp_path)
    assert draft.layout == "unknown"
    assert "there are no images" in words(draft.problems)


@pytest.mark.parametrize("text", ["[]", "{", '"x"', "{}", '{"a": 1}', "[" * 100000, "\xff"])
def test_a_json_that_describes_nothing_is_a_finding_not_a_traceback(tmp_path, text):
    (tmp_path / "dataset.json").write_bytes(text.encode("latin-1"))
    draft = detect(tmp_path)
    assert "dataset.json" in words(draft.problems)
    assert draft.layout == "unknown"


@pytest.mark.parametrize("training", [None, 3, [3], ["a"], [{"image": 3}], [{}], {"a": 1}])
def test_a_list_of_cases_of_the_wrong_type_is_a_finding(tmp_path, training):
    assert '"training"' in words(decathlon(tmp_path, training=training).training_problems)


def test_the_folder_names_the_task_where_it_looks_like_one(tmp_path):
    assert decathlon(tmp_path / "Task04_Hippocampus").task == "Task04_Hippocampus"
    assert v2(tmp_path / "Dataset004_Hippocampus").task == "Dataset004_Hippocampus"
    assert decathlon(tmp_path / "input", name="../My task/1").task == "My_task_1"
    assert detect(tmp_path).task == tmp_path.name


def test_several_tasks_in_a_root_are_found_in_order(tmp_path):
    decathlon(tmp_path / "Task02_B")
    decathlon(tmp_path / "Task01_A")
    (tmp_path / "Task03_Empty").mkdir()
    (tmp_path / "nnbox").mkdir()
    assert [path.name for path in find_tasks(tmp_path)] == ["Task01_A", "Task02_B"]
    assert find_tasks(tmp_path / "Task01_A") == (tmp_path / "Task01_A",)
    assert find_tasks(tmp_path / "nnbox") == (tmp_path / "nnbox",)


def test_a_root_that_is_no_folder_is_a_usage_error(tmp_path):
    for look in (detect, find_tasks):
        with pytest.raises(UsageError, match="not a folder"):
            look(tmp_path / "missing")


def test_real_data_sets_are_recognised_without_a_finding(shared):
    found = [detect(root) for root in find_tasks(shared / "data")]
    assert [(draft.layout, len(draft.cases), len(draft.test_cases)) for draft in found] == [
        ("decathlon", 260, 1),
        ("decathlon", 20, 4),
    ]
    assert all(draft.problems == draft.training_problems == () for draft in found)
