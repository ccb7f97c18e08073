"""A sound data set is taken in the same way from every layout."""

import dataclasses
import json
import os

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.errors import DataError
from nnbox.imaging import intensities
from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import fingerprint_of, take_in
from nnbox.intake.workers import count_cases_again
from nnbox.layouts.detect import detect
from nnbox.records.codec import digest, dumps, parse_record
from nnbox.records.dataset import Choices, Dataset, InputDigests

TWO = ("T1", "T2")


def table(result):
    dataset = result.require_dataset()
    return [(case.name, case.output_name, case.patient) for case in (*dataset.cases, *dataset.test_cases)]


@pytest.mark.parametrize("channels", [("T1",), TWO])
def test_every_layout_gives_one_case_table_and_one_fingerprint(make_toy, channels):
    results = [
        make_toy("msd", channels=channels).decathlon().take_in(),
        make_toy("v1", channels=channels).nnunet_v1().take_in(),
        make_toy("v2", channels=channels).nnunet_v2().take_in(),
        make_toy("bare", channels=channels).bare().take_in(channels=channels),
        make_toy("bare_split", channels=channels).bare(split=True).take_in(channels=channels),
    ]
    assert [result.require_dataset().layout for result in results] == [
        "decathlon",
        "nnunet_v1",
        "nnunet_v2",
        "bare",
        "bare",
    ]
    assert all(table(result) == table(results[0]) for result in results)
    assert len({digest(fingerprint_of(result)) for result in results}) == 1
    assert all(result.problems == () for result in results)


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd", ".mhd"])
def test_every_format_gives_the_same_fingerprint(make_toy, ending):
    reference = fingerprint_of(make_toy("a").decathlon().take_in())
    other = fingerprint_of(make_toy("b", ending=ending).decathlon().take_in())
    assert digest(other) == digest(reference)


def test_the_fingerprint_holds_what_was_measured(toy):
    result = toy.decathlon().take_in()
    fingerprint = fingerprint_of(result)
    assert fingerprint.task == "Task99_Toy"
    assert [case.name for case in fingerprint.cases] == toy.names()
    first = fingerprint.cases[0]
    assert (first.source_shape_vox, first.shape_vox, first.spacing_mm) == ((5, 9, 11), (4, 7, 9), (2.5, 0.8, 0.7))
    assert (first.label_voxels, first.components) == ((18, 8), (1, 1))
    assert fingerprint.intensities[0].voxels == sum(sum(case.label_voxels) for case in fingerprint.cases)


def test_the_facts_of_each_case_are_told(toy):
    facts = toy.decathlon().take_in().facts
    assert [case.name for case in facts] == [*toy.names(), "toy_z"]
    assert (facts[0].orientation, facts[0].channels, facts[0].pixel_type) == ("SPL", 1, "float32")
    assert facts[0].labelled and not facts[-1].labelled
    assert facts[0].label_voxels == (18, 8)
    assert facts[0].minimum == (0.0,)


def test_worker_processes_change_nothing(toy):
    toy.decathlon()
    (toy.image("toy_b")).write_bytes(b"")
    alone, together = toy.take_in(workers=1), toy.take_in(workers=2)
    assert alone.problems == together.problems
    assert alone.facts == together.facts
    assert alone.digests == together.digests


def test_the_record_can_be_written_and_read(toy):
    dataset = toy.decathlon().take_in(channels=("MRI",), exclude=("toy_a",)).require_dataset()
    assert parse_record(json.loads(dumps(dataset)), Dataset, where="here") == dataset


def test_choices_are_recorded(toy):
    options = {"trust_image_grid": True, "replace_nonfinite": True, "mirror_axes": ("x", "z")}
    dataset = toy.decathlon().take_in(exclude=("toy_z", "toy_a"), channels=("ct",), **options).require_dataset()
    assert dataset.choices == Choices(
        channels=("ct",),
        excluded=("toy_a", "toy_z"),
        trust_image_grid=True,
        replace_nonfinite=True,
        mirror_axes=("z", "x"),
    )
    assert [case.name for case in dataset.cases] == toy.names()[1:]
    assert dataset.test_cases == ()
    assert dataset.channels[0].is_ct


@pytest.mark.parametrize(
    ("name", "is_ct"), [("CT", True), ("ct", True), ("CTA", False), ("non-CT", False), ("PET/CT", False)]
)
def test_a_channel_is_ct_when_its_name_is_the_whole_word(toy, name, is_ct):
    assert toy.decathlon(modality={"0": name}).take_in().require_dataset().channels[0].is_ct is is_ct


def test_digests_are_reused_while_size_and_time_are_the_same(toy):
    toy.decathlon()
    first = toy.take_in()
    image = toy.image("toy_a")
    state = first.digests.files["imagesTr/toy_a.nii.gz"]
    marked = dataclasses.replace(
        first.digests, files={**first.digests.files, "imagesTr/toy_a.nii.gz": dataclasses.replace(state, sha256="old")}
    )
    assert toy.take_in(known=marked).digests == marked
    os.utime(image, ns=(1, 1))
    again = toy.take_in(known=marked).digests.files["imagesTr/toy_a.nii.gz"]
    assert (again.sha256, again.modified_ns) == (state.sha256, 1)
    assert len(first.digests.files) == 11


def test_the_data_file_of_a_detached_header_is_digested_too(make_toy):
    digests = make_toy("mhd", ending=".mhd").decathlon().take_in().digests
    header, data = digests.with_data("imagesTr/toy_a.mhd")
    assert header == "imagesTr/toy_a.mhd"
    assert data == "imagesTr/toy_a.zraw"
    assert {header, data} <= set(digests.files)


def test_a_record_of_digests_that_names_no_data_files_is_read(make_toy):
    digests = make_toy("mhd", ending=".mhd").decathlon().take_in().digests
    document = json.loads(dumps(digests))
    del document["companions"]
    old = parse_record(document, InputDigests, where="input_digests.json")
    assert old.files == digests.files
    assert old.with_data("imagesTr/toy_a.mhd") == ("imagesTr/toy_a.mhd",)


@pytest.mark.parametrize("changed", ["imagesTr/toy_b.mhd", "imagesTr/toy_b.raw", "labelsTr/toy_b.raw"])
def test_a_file_that_is_changed_before_intensities_are_counted_again_is_named(make_toy, monkeypatch, changed):
    toy = make_toy("mhd", ending=".mhd").decathlon()
    for path in toy.root.glob("*/*.mhd"):
        sitk.WriteImage(sitk.ReadImage(path), path)  # not compressed
    file = toy.root / changed

    def count_later(tasks, workers):
        stored = file.read_bytes()
        file.write_bytes(b"Comment = changed\n" + stored if file.suffix == ".mhd" else b"\2" + stored[1:])
        return count_cases_again(tasks, workers)

    monkeypatch.setattr(intensities._Channel, "_MOST_VALUES", 3)  # so that a second pass is needed
    monkeypatch.setattr("nnbox.intake.take_in.count_cases_again", count_later)
    with pytest.raises(DataError, match=f"{changed} was changed while the run was at work"):
        toy.take_in()


def test_nothing_under_the_input_changes(toy):
    toy.decathlon()
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in toy.root.rglob("*")}
    toy.take_in(workers=2)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in toy.root.rglob("*")} == before


def test_prediction_takes_the_unlabelled_images_and_minds_nothing_else(toy):
    toy.decathlon()
    toy.label("toy_a").unlink()
    toy.label("toy_b").write_bytes(b"rubbish")
    result = toy.take_in(purpose="predict")
    dataset = result.require_dataset()
    assert dataset.cases == ()
    assert [case.output_name for case in dataset.test_cases] == ["toy_z.nii.gz"]
    assert result.fingerprints == ()


def test_prediction_takes_every_image_of_a_flat_folder(toy):
    toy.channels = TWO
    toy.bare(split=True)
    flat = toy.root / "imagesTr"
    dataset = take_in(flat, IntakeOptions(channels=TWO), workers=1, purpose="predict").require_dataset()
    assert (dataset.layout, [case.name for case in dataset.test_cases]) == ("flat", toy.names())
    unnamed = take_in(flat, IntakeOptions(), workers=1, purpose="predict").require_dataset()
    assert [channel.name for channel in unnamed.channels] == ["channel_0", "channel_1"]


def test_prediction_without_images_is_an_error(toy):
    toy.decathlon(test=[], numTest=0)
    (toy.root / "imagesTs/toy_z.nii.gz").unlink()
    with pytest.raises(DataError, match="no unlabelled images"):
        toy.take_in(purpose="predict").require_dataset()


def test_pictures_are_two_dimensional_and_rgb_is_three_channels(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for index in range(5):
        picture = sitk.GetImageFromArray(rng.integers(1, 255, (16, 20, 3), dtype=np.uint8), isVector=True)
        sitk.WriteImage(picture, str(tmp_path / f"imagesTr/p{index}.png"))
        labels = np.zeros((16, 20), np.uint8)
        labels[4:8, 4:9] = 255
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / f"labelsTr/p{index}.png"))
    dataset = take_in(tmp_path, IntakeOptions(), workers=1).require_dataset()
    assert (dataset.dimension, len(dataset.channels)) == (2, 3)
    assert [(label.value, label.name) for label in dataset.labels] == [(255, "label_255")]


@pytest.mark.parametrize(
    ("task", "kept"),
    [
        ("Task04_Hippocampus", ("hippocampus_001", "hippocampus_003", "hippocampus_243", "hippocampus_367")),
        ("Task11_SarcomaCT", ("sts_001", "sts_002")),
    ],
)
def test_real_cases_raise_no_false_alarm(shared, task, kept):
    root = shared / "data" / task
    names = [case.name for case in detect(root).cases]
    others = tuple(name for name in names if name not in kept)
    result = take_in(root, IntakeOptions(exclude=others), workers=1)
    assert [problem.what for problem in result.problems] == [
        f"there are only {len(names) - len(others)} labelled cases"
    ]
    assert len(result.fingerprints) == len(names) - len(others) >= 2
    assert len(result.require_dataset().test_cases) == (1 if task.startswith("Task04") else 4)


def test_one_rgb_picture_is_three_channels_in_the_nnunet_v2_layout(tmp_path):
    root = tmp_path / "Dataset001_Toy"
    rng = np.random.default_rng(0)
    for index in range(5):
        labels = np.zeros((12, 14), np.uint8)
        labels[3:7, 2:6] = 1
        picture = rng.integers(0, 255, (12, 14, 3), np.uint8)
        for folder, array, name in (("imagesTr", picture, f"p{index}_0000"), ("labelsTr", labels, f"p{index}")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(array, isVector=array.ndim == 3)
            sitk.WriteImage(image, str(root / folder / f"{name}.png"))
    document = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "x": 1}}
    (root / "dataset.json").write_text(json.dumps({**document, "file_ending": ".png"}))
    result = take_in(root, IntakeOptions(), workers=1)
    assert result.errors == ()
    assert [case.channels for case in result.facts] == [3] * 5
    (root / "dataset.json").write_text(json.dumps({**document, "file_ending": ".png", "channel_names": {"0": "R"}}))
    assert "it has 3 channel(s)" in take_in(root, IntakeOptions(), workers=1).errors[0].what


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_pass_over_the_cases_gives_the_same_fingerprint(make_toy, monkeypatch, workers):
    toy = make_toy("a").decathlon()
    reference = fingerprint_of(toy.take_in())
    monkeypatch.setattr(intensities._Channel, "_MOST_VALUES", 3)  # in this process, where the cases are joined
    found = fingerprint_of(toy.take_in(workers=workers))
    assert found.cases == reference.cases
    for one, other in zip(found.intensities, reference.intensities, strict=True):
        assert (one.percentile_00_5, one.percentile_99_5, one.minimum, one.maximum, one.voxels) == (
            *(other.percentile_00_5, other.percentile_99_5, other.minimum, other.maximum, other.voxels),
        )
        assert (one.mean, one.sd) == (pytest.approx(other.mean, rel=1e-12), pytest.approx(other.sd, rel=1e-12))
