"""Everything wrong with a data set is told at once: case, file, value, expectation, and what to do."""

import gzip
import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.errors import DataError, Severity
from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import fingerprint_of, take_in
from nnbox.records.codec import dumps

CASE = "toy_b"


def load(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def rewrite(path, *, array=None, spacing=None, origin=None, direction=None):
    """Write a file again with something changed."""
    image = sitk.ReadImage(str(path))
    changed = image if array is None else sitk.GetImageFromArray(array)
    if changed is not image:
        changed.SetSpacing(image.GetSpacing())
        changed.SetOrigin(image.GetOrigin())
        changed.SetDirection(image.GetDirection())
    changed.SetSpacing(spacing or changed.GetSpacing())
    changed.SetOrigin(origin or changed.GetOrigin())
    changed.SetDirection(direction or changed.GetDirection())
    sitk.WriteImage(changed, str(path))


def with_nan(toy, value=np.nan):
    image = load(toy.image(CASE)).astype(np.float32)
    image[2, 3, 4] = value
    rewrite(toy.image(CASE), array=image)


def label_with(toy, value, dtype=np.int16):
    labels = load(toy.label(CASE)).astype(dtype)
    labels[0, 0, :2] = value
    rewrite(toy.label(CASE), array=labels)


def truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def damage_checksum(path):
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(bytes(content))


def patch_header(path, offset, content):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)))


def float32(value):
    return np.float32(value).tobytes()


DEFECTS = {
    "missing label": (lambda toy: toy.label(CASE).unlink(), ["imagesTr/toy_b.nii.gz", "the label is missing"]),
    "label without image": (lambda toy: toy.image(CASE).unlink(), ["labelsTr/toy_b.nii.gz", "the label has no image"]),
    "other size": (
        lambda toy: rewrite(toy.label(CASE), array=load(toy.label(CASE))[1:]),
        ["labelsTr/toy_b.nii.gz", "its size is (5, 9, 12)", "(6, 9, 12)"],
    ),
    "other origin": (
        lambda toy: rewrite(toy.label(CASE), origin=(1.0, 2.0, 4.0)),
        ["its header moves the image's corners by 0.4 voxels", "--trust-image-grid", "0.001 voxels"],
    ),
    "other spacing": (
        lambda toy: rewrite(toy.label(CASE), spacing=(0.7, 0.81, 2.5)),
        ["its header moves", "spacing (2.5, 0.81, 0.7)", "--trust-image-grid"],
    ),
    "other direction": (
        lambda toy: rewrite(toy.label(CASE), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)),
        ["its header moves", "orientation SAR", "--trust-image-grid"],
    ),
    "nan": (with_nan, ["imagesTr/toy_b.nii.gz", "1 voxel(s) are NaN or infinite", "--replace-nonfinite"]),
    "infinite": (lambda toy: with_nan(toy, -np.inf), ["1 voxel(s) are NaN or infinite", "--replace-nonfinite"]),
    "unknown label value": (
        lambda toy: label_with(toy, 7),
        ["labelsTr/toy_b.nii.gz", "unknown label value 7 (2 voxels)", "only 0, 2, 5", "dataset.json"],
    ),
    "negative label": (lambda toy: label_with(toy, -3), ["unknown label value -3 (2 voxels)", "only 0, 2, 5"]),
    "fractional label": (
        lambda toy: label_with(toy, 0.5, np.float32),
        ["labelsTr/toy_b.nii.gz", "no whole numbers", "whole label values"],
    ),
    "nan label": (lambda toy: label_with(toy, np.nan, np.float32), ["labelsTr/toy_b.nii.gz", "2 voxel(s) are NaN"]),
    "truncated": (lambda toy: truncate(toy.image(CASE)), ["imagesTr/toy_b.nii.gz", "truncated"]),
    "truncated label": (lambda toy: truncate(toy.label(CASE), 0.8), ["labelsTr/toy_b.nii.gz", "truncated"]),
    "checksum": (lambda toy: damage_checksum(toy.image(CASE)), ["imagesTr/toy_b.nii.gz", "damaged"]),
    "empty file": (lambda toy: toy.image(CASE).write_bytes(b""), ["imagesTr/toy_b.nii.gz", "NIfTI header"]),
    "rubbish": (lambda toy: toy.image(CASE).write_bytes(b"rubbish" * 99), ["imagesTr/toy_b.nii.gz", "NIfTI header"]),
    "zero spacing": (
        lambda toy: patch_header(toy.image(CASE), 80, float32(0)),
        ["imagesTr/toy_b.nii.gz", "spacing (0, 0.8, 2.5)", "positive"],
    ),
    "negative spacing": (lambda toy: patch_header(toy.image(CASE), 84, float32(-1)), ["spacing (0.7, -1, 2.5)"]),
    "nan spacing": (lambda toy: patch_header(toy.image(CASE), 80, float32(np.nan)), ["spacing (nan, 0.8, 2.5)"]),
    "too many channels": (
        lambda toy: sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(toy.image(CASE)))] * 3), str(toy.image(CASE))),
        ["imagesTr/toy_b.nii.gz", "it has 3 channel(s)", "expected 1 channel(s)", "dataset.json where that is wrong"],
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_told_with_case_file_value_and_remedy_and_the_case_can_be_left_out(toy, defect):
    spoil, expected = DEFECTS[defect]
    toy.decathlon()
    spoil(toy)
    result = toy.take_in()
    assert result.dataset is None
    assert {problem.case for problem in result.errors} == {CASE}
    sentences = "\n".join(problem.sentence() for problem in result.errors)
    for words in (*expected, f"case {CASE}", f"--exclude {CASE}"):
        assert words in sentences, sentences
    assert len(result.errors) == 1, sentences
    with pytest.raises(DataError, match=CASE):
        fingerprint_of(result)
    without = toy.take_in(exclude=(CASE,))
    assert not without.errors
    assert CASE in without.require_dataset().choices.excluded


def test_all_problems_are_told_at_once(make_toy):
    toy = make_toy("all", count=9).decathlon()
    names = toy.names()
    toy.label(names[0]).unlink()
    truncate(toy.image(names[1]))
    rewrite(toy.label(names[2]), origin=(0.0, 0.0, 0.0))
    labels = load(toy.label(names[3]))
    labels[0, 0, 0] = 9
    rewrite(toy.label(names[3]), array=labels)
    rewrite(toy.label(names[4]), array=labels[:2])
    truncate(toy.root / "imagesTs/toy_z.nii.gz")
    result = toy.take_in(workers=2)
    assert {problem.case for problem in result.errors} == {*names[:5], "toy_z"}
    # Both sides of a case are looked at although one of them is broken.
    truncate(toy.image(names[3]))
    assert sum(problem.case == names[3] for problem in toy.take_in().errors) == 2
    assert not toy.take_in(exclude=(*names[:5], "toy_z")).errors


def test_headers_that_differ_by_rounding_are_one_grid(toy):
    toy.decathlon()
    rewrite(toy.label(CASE), origin=(1.0, 2.0, 3.0 + 2.5 * 5e-4))
    assert not toy.take_in().errors
    rewrite(toy.label(CASE), origin=(1.0, 2.0, 3.0 + 2.5 * 2e-3))
    assert len(toy.take_in().errors) == 1


def test_the_image_grid_can_be_trusted(toy):
    reference = fingerprint_of(toy.decathlon().take_in())
    rewrite(toy.label(CASE), spacing=(9.0, 9.0, 9.0))
    trusted = toy.take_in(trust_image_grid=True)
    assert fingerprint_of(trusted) == reference
    assert trusted.require_dataset().choices.trust_image_grid


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_nonfinite_voxels_are_seen_in_every_format_and_can_be_replaced(make_toy, ending):
    toy = make_toy("nan", ending=ending).decathlon()
    with_nan(toy)
    (problem,) = toy.take_in().errors
    assert "1 voxel(s) are NaN or infinite" in problem.what
    assert "--replace-nonfinite" in problem.remedy
    replaced = toy.take_in(replace_nonfinite=True)
    assert replaced.require_dataset().choices.replace_nonfinite
    assert fingerprint_of(replaced).intensities[0].minimum >= 0


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii"])
def test_truncation_is_seen_in_every_format(make_toy, ending):
    toy = make_toy("short", ending=ending).decathlon()
    truncate(toy.image(CASE), 0.9)
    assert [problem.case for problem in toy.take_in().errors] == [CASE]


def test_channel_files_of_a_case_must_share_a_grid(make_toy):
    toy = make_toy("grids", channels=("T1", "T2")).nnunet_v2()
    second = toy.root / f"imagesTr/{CASE}_0001.nii.gz"
    rewrite(second, origin=(5.0, 2.0, 3.0))
    (problem,) = toy.take_in().errors
    assert (problem.case, problem.file) == (CASE, f"imagesTr/{CASE}_0001.nii.gz")
    assert f"the channel imagesTr/{CASE}_0000.nii.gz" in problem.expected
    rewrite(second, array=load(second)[:, 1:])
    assert "its size is (6, 8, 12)" in toy.take_in().errors[0].what
    second.unlink()
    (problem,) = toy.take_in().errors
    assert (problem.case, problem.what) == (CASE, "channel file _0001 is missing")


def test_without_names_the_odd_channel_count_is_told(make_toy):
    toy = make_toy("odd").bare()
    image = sitk.ReadImage(str(toy.image(CASE)))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(toy.image(CASE)))
    (problem,) = toy.take_in().errors
    assert (problem.case, problem.what) == (CASE, "it has 2 channel(s)")


def test_no_foreground_anywhere_is_an_error_and_an_unused_label_a_warning(toy):
    toy.decathlon()
    for name in toy.names():
        rewrite(toy.label(name), array=np.where(load(toy.label(name)) == 5, 0, load(toy.label(name))))
    (problem,) = toy.take_in().problems
    assert (problem.severity, problem.what) == (Severity.WARNING, "no case has a voxel of label_5 (5)")
    for name in toy.names():
        rewrite(toy.label(name), array=np.zeros_like(load(toy.label(name))))
    assert "none of the 5 label maps has a voxel above 0" in toy.take_in().errors[0].what


def test_no_foreground_is_told_without_a_json_too(toy):
    toy.bare()
    for name in toy.names():
        rewrite(toy.label(name), array=np.zeros_like(load(toy.label(name))))
    assert "has a voxel above 0" in "\n".join(problem.what for problem in toy.take_in().errors)


@pytest.mark.parametrize("purpose", ["train", "predict"])
def test_an_empty_folder_is_told(tmp_path, purpose):
    (problem,) = take_in(tmp_path, IntakeOptions(), workers=1, purpose=purpose).errors
    assert "there are no images" in problem.what
    assert "--input" in problem.remedy


def test_images_without_labels_cannot_be_trained_on(toy):
    toy.bare()
    result = take_in(toy.root / "imagesTr", IntakeOptions(), workers=1)
    assert "there are no labelled cases, only 5 image(s)" in result.errors[0].what
    assert "nnbox predict" in result.errors[0].remedy


def test_an_unknown_name_after_exclude_is_told(toy):
    (problem,) = toy.decathlon().take_in(exclude=("toy_q",)).errors
    assert "--exclude names 'toy_q'" in problem.what
    assert "toy_a" in problem.expected


def test_the_wrong_number_of_channel_names_is_told_once(toy):
    (problem,) = toy.decathlon().take_in(channels=("T1", "T2")).errors
    assert "--channels names 2 channel(s): T1, T2" in problem.what
    assert "1, as dataset.json has: T1" in problem.expected


def test_an_unknown_mirror_axis_is_told(toy):
    (problem,) = toy.decathlon().take_in(mirror_axes=("x", "w")).errors
    assert "--mirror-axes names 'w'" in problem.what
    assert toy.take_in(mirror_axes=("none",)).require_dataset().choices.mirror_axes == ()


def test_a_missing_root_of_labels_is_told_for_every_case(toy):
    toy.bare()
    for name in toy.names():
        toy.label(name).unlink()
    assert [problem.case for problem in toy.take_in().errors] == toy.names()


def test_label_maps_that_are_images_are_told(toy):
    toy.bare()
    labels = np.arange(6 * 9 * 12, dtype=np.int16).reshape(6, 9, 12)
    rewrite(toy.label(CASE), array=labels)
    assert "647 different values" in "\n".join(problem.what for problem in toy.take_in().errors)


def test_a_file_whose_reader_fails_unexpectedly_does_not_end_the_others(toy, monkeypatch):
    toy.decathlon()

    def fail(name, *_):
        if name == CASE:
            raise ZeroDivisionError("by accident")
        return real(name, *_)

    import nnbox.intake.read_case as module

    real = module.case_fingerprint
    monkeypatch.setattr(module, "case_fingerprint", fail)
    result = toy.take_in()
    assert [(problem.case, problem.what) for problem in result.errors] == [
        (CASE, "it cannot be read (ZeroDivisionError: by accident)")
    ]
    assert len(result.fingerprints) == 4


def test_a_json_of_wrong_types_is_told_without_a_traceback(toy):
    toy.decathlon(labels={"0": "background", "2": 3, "5": None}, modality=["T1"], numTraining=None)
    sentences = "\n".join(problem.sentence() for problem in toy.take_in().problems)
    assert "the name of label 2 is 3" in sentences
    assert "numTraining" in sentences
    json.loads((toy.root / "dataset.json").read_text())


def test_a_file_name_that_is_no_utf8_is_told_in_words_that_can_be_written(toy):
    toy.decathlon()
    stray = toy.root / "imagesTr" / os.fsdecode(b"x\xff.nii.gz")
    shutil.copy(toy.image(CASE), stray)
    result = toy.take_in(exclude=("toy_a",))
    dataset = result.require_dataset()
    assert any("x\\xff.nii.gz" in problem.what for problem in dataset.warnings)
    assert dumps(dataset).encode()
    toy.listed(test=[])
    shutil.copy(toy.image(CASE), toy.root / "imagesTs" / stray.name)
    result = toy.take_in()
    sentence = "\n".join(problem.sentence() for problem in result.errors)
    assert "no valid UTF-8" in sentence
    assert sentence.encode().isascii()
    for name in (os.fsdecode(b"x\xff"), "x\\xff"):  # as a shell completes it, and as the message spells it
        assert dumps(toy.take_in(exclude=(name,)).require_dataset()).encode()


@pytest.mark.parametrize("place", ["labels", "patients"])
def test_text_that_no_file_can_hold_is_told(toy, place):
    toy.decathlon()
    path = toy.root / ("dataset.json" if place == "labels" else "patients.json")
    path.write_text(path.read_text().replace("label_2", "\\ud800") if place == "labels" else '{"toy_a": "\\ud800"}')
    result = toy.take_in()
    assert [(problem.file, "no valid Unicode" in problem.what) for problem in result.errors] == [(path.name, True)]


def test_an_image_that_shows_nothing_is_a_warning(toy):
    toy.decathlon()
    rewrite(toy.image(CASE), array=np.full_like(load(toy.image(CASE)), 3))
    (problem,) = toy.take_in().problems
    assert problem.severity is Severity.WARNING
    assert problem.case == CASE
    assert "the value 3 everywhere" in problem.sentence()


def test_label_values_are_not_searched_in_a_file_that_points_elsewhere(toy):
    toy.bare()
    toy.label(CASE).unlink()
    header = "ObjectType = Image\nNDims = 3\nDimSize = 5 5 5\nElementType = MET_UCHAR\nElementDataFile = "
    (toy.root / "labelsTr" / f"{CASE}.mhd").write_text(f"{header}{toy.root / 'imagesTr' / 'toy_a.nii.gz'}\n")
    result = toy.take_in()
    assert [label.value for label in result.found.labels] == [2, 5]
    (problem,) = result.errors
    assert "said to lie in" in problem.what
