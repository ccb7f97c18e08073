"""Result archives: what is written, and every rule broken once."""

import json
import shutil
import warnings
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name its documentation uses

from nnbox.errors import IncompleteOutputError, RecordError, UsageError
from nnbox.geometry import Grid
from nnbox.imaging.io import write_labels
from nnbox.submission import archive as archive_module
from nnbox.submission import expected as expected_module
from nnbox.submission.archive import write_submission
from nnbox.submission.check import Rule, check_submission
from nnbox.submission.expected import ExpectedCase, cases_that_may_be_absent

TASK = "Task04_Hippocampus"
OTHER = "Task09_Spleen"


def make_grid(size):
    cosine, sine = np.cos(0.2), np.sin(0.2)
    return Grid(
        shape_vox=(size, size + 1, size + 2),
        spacing_mm=(2.5, 0.9, 0.8),
        origin_xyz_mm=(-123.4, 56.78, 901.2),
        direction_xyz=(cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0),
    )


CASES = tuple(
    ExpectedCase(task=task, output_name=f"{stem}_{number:03d}.nii.gz", grid=make_grid(5 + number), label_values=(1, 3))
    for task, stem in ((TASK, "hippocampus"), (OTHER, "spleen"))
    for number in (1, 2)
)
FIRST = CASES[0]
MEMBER = f"{TASK}/{FIRST.output_name}"


@pytest.fixture
def predictions(tmp_path):
    """One correct prediction per case, by task."""
    files = {}
    for index, case in enumerate(CASES):
        path = tmp_path / "predictions" / case.task / case.output_name
        labels = np.random.default_rng(index).choice([0, 1, 3], case.grid.shape_vox).astype(np.uint8)
        write_labels(path, labels, case.grid)
        files.setdefault(case.task, []).append(path)
    return files


@pytest.fixture
def archive(tmp_path, predictions):
    write_submission(tmp_path / "submission.zip", predictions)
    return tmp_path / "submission.zip"


def rewrite(archive, change):
    """Write the archive again with its members, {name: content}, changed in place."""
    with zipfile.ZipFile(archive) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)


def put_image(archive, tmp_path, change):
    """Replace the first case's image by what ``change`` makes of it."""
    path = tmp_path / "changed.nii.gz"
    with zipfile.ZipFile(archive) as source:
        path.write_bytes(source.read(MEMBER))
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))
    rewrite(archive, lambda members: members.update({MEMBER: path.read_bytes()}))


def only(problems, rule, case=FIRST.name):
    """The one problem there is names its rule and its case."""
    assert [problem.what.split(":")[0] for problem in problems] == [rule.value], problems
    assert problems[0].case == case
    assert case is None or case in problems[0].sentence()
    return problems[0]


def test_an_archive_of_correct_predictions_has_no_problem(archive):
    assert check_submission(archive, CASES) == ()
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == [f"{case.task}/{case.output_name}" for case in CASES]


def test_equal_predictions_give_equal_bytes(archive, predictions, tmp_path):
    write_submission(tmp_path / "again.zip", {task: files[::-1] for task, files in reversed(predictions.items())})
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_uncompressed_formats_are_deflated(tmp_path):
    write_labels(
        tmp_path / "case.nii",
        np.zeros((20, 30, 30), np.uint8),
        Grid(
            shape_vox=(20, 30, 30),
            spacing_mm=(1.0,) * 3,
            origin_xyz_mm=(0.0,) * 3,
            direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        ),
    )
    write_submission(tmp_path / "s.zip", {TASK: [tmp_path / "case.nii"]})
    assert (tmp_path / "s.zip").stat().st_size < 1000


def test_nothing_missing_or_doubled_is_written(tmp_path, predictions):
    target = tmp_path / "s.zip"
    with pytest.raises(IncompleteOutputError, match="no predictions"):
        write_submission(target, {TASK: []})
    with pytest.raises(IncompleteOutputError, match="missing"):
        write_submission(target, {TASK: [tmp_path / "absent.nii.gz"]})
    first = predictions[TASK][0]
    shutil.copytree(first.parent, tmp_path / "copy")
    with pytest.raises(IncompleteOutputError, match="both be"):
        write_submission(target, {TASK: [first, tmp_path / "copy" / first.name]})
    assert not target.exists()


def test_what_does_not_read_back_is_not_kept(tmp_path, predictions, monkeypatch):
    monkeypatch.setattr(archive_module.shutil, "copyfileobj", lambda source, target, size: target.write(b"other"))
    with pytest.raises(IncompleteOutputError, match="read back"):
        write_submission(tmp_path / "s.zip", predictions)
    assert not (tmp_path / "s.zip").exists()


# One corrupted archive per rule.


def test_a_missing_case_is_named(archive):
    rewrite(archive, lambda members: members.pop(MEMBER))
    assert "--exclude-from-submission" in only(check_submission(archive, CASES), Rule.MISSING).remedy


@pytest.mark.parametrize("name", [f"{TASK}/notes.txt", "__MACOSX/x", f"{TASK}/empty/", "Task77_None/"])
def test_an_extra_file_is_named(archive, name):
    rewrite(archive, lambda members: members.update({name: b""}))
    assert only(check_submission(archive, CASES), Rule.EXTRA, case=None).file == name


def test_a_folder_entry_of_a_task_is_no_extra_file(archive):
    rewrite(archive, lambda members: members.update({f"{TASK}/": b""}))
    assert check_submission(archive, CASES) == ()


def test_a_case_twice_under_one_name_is_named(archive):
    with zipfile.ZipFile(archive, "a") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.writestr(MEMBER, opened.read(MEMBER))
    only(check_submission(archive, CASES), Rule.DUPLICATE)


def test_a_case_in_its_own_folder_and_in_another_is_named(archive):
    rewrite(archive, lambda members: members.update({f"{OTHER}/{FIRST.output_name}": members[MEMBER]}))
    only(check_submission(archive, CASES), Rule.DUPLICATE)


@pytest.mark.parametrize(
    "path", [FIRST.output_name, f"{OTHER}/{FIRST.output_name}", f"results/{MEMBER}", f"../{MEMBER}"]
)
def test_a_case_in_the_wrong_folder_is_named(archive, path):
    rewrite(archive, lambda members: members.update({path: members.pop(MEMBER)}))
    assert MEMBER in only(check_submission(archive, CASES), Rule.WRONG_FOLDER).expected


def test_another_size_is_named(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: image[:-1, :, :])
    only(check_submission(archive, CASES), Rule.SIZE)


def test_a_2d_slice_is_another_size(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: image[:, :, 0])
    only(check_submission(archive, CASES), Rule.SIZE)


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(archive):
    rewrite(archive, lambda members: members.update({MEMBER: bytes(3 << 20)}))
    only(check_submission(archive, CASES), Rule.SIZE)


def changed(image, **properties):
    for name, value in properties.items():
        getattr(image, f"Set{name}")(value)
    return image


def test_another_spacing_is_named(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: changed(image, Spacing=(0.8, 0.9, 2.501)))
    only(check_submission(archive, CASES), Rule.SPACING)


def test_another_origin_is_named(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: changed(image, Origin=(-123.4, 56.781, 901.2)))
    only(check_submission(archive, CASES), Rule.ORIGIN)


def test_another_direction_is_named(archive, tmp_path):
    cosine, sine = np.cos(0.2001), np.sin(0.2001)
    turned = (cosine, -sine, 0.0, sine, cosine, 0.0, 0.0, 0.0, 1.0)
    put_image(archive, tmp_path, lambda image: changed(image, Direction=turned))
    only(check_submission(archive, CASES), Rule.DIRECTION)


def test_an_unknown_label_is_named(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: image * 2)
    assert "[2, 6]" in only(check_submission(archive, CASES), Rule.LABEL).what


@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkFloat64])
def test_a_float_type_is_named(archive, tmp_path, kind):
    put_image(archive, tmp_path, lambda image: sitk.Cast(image, kind))
    only(check_submission(archive, CASES), Rule.FLOAT)


def test_a_float_file_with_nan_is_a_float_file(archive, tmp_path):
    def spoil(image):
        values = sitk.GetArrayFromImage(image).astype(np.float32)
        values[0, 0, 0] = np.nan
        spoilt = sitk.GetImageFromArray(values)
        spoilt.CopyInformation(image)
        return spoilt

    put_image(archive, tmp_path, spoil)
    only(check_submission(archive, CASES), Rule.FLOAT)


@pytest.mark.parametrize("integers", [sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkInt32])
def test_any_integer_type_passes(archive, tmp_path, integers):
    put_image(archive, tmp_path, lambda image: sitk.Cast(image, integers))
    assert check_submission(archive, CASES) == ()


@pytest.mark.parametrize("keep", [-20, 60, 0])
def test_a_truncated_file_in_a_whole_archive_is_named(archive, keep):
    rewrite(archive, lambda members: members.update({MEMBER: members[MEMBER][:keep]}))
    only(check_submission(archive, CASES), Rule.TRUNCATED)


def test_a_file_whose_bytes_were_changed_in_the_archive_is_named(archive):
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        content[opened.getinfo(MEMBER).header_offset + 100] ^= 0xFF
    archive.write_bytes(content)
    only(check_submission(archive, CASES), Rule.TRUNCATED)


@pytest.mark.parametrize("name", ["submission.zip", f"{TASK}/inner"])
def test_a_nested_zip_is_named(archive, name):
    inner = archive.read_bytes()
    rewrite(archive, lambda members: members.update({name: inner}))
    assert only(check_submission(archive, CASES), Rule.NESTED_ZIP, case=None).file == name


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_truncated_archive_is_named(archive, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    only(check_submission(archive, CASES), Rule.UNREADABLE_ZIP, case=None)


def test_an_archive_that_is_not_there_is_named(tmp_path):
    only(check_submission(tmp_path / "absent.zip", CASES), Rule.UNREADABLE_ZIP, case=None)


def test_all_defects_are_reported_at_once(archive, tmp_path):
    put_image(archive, tmp_path, lambda image: changed(image * 2, Origin=(0, 0, 0), Spacing=(1, 1, 1)))
    rewrite(archive, lambda members: (members.pop(f"{OTHER}/spleen_001.nii.gz"), members.update({"x": b""})))
    rules = [problem.what.split(":")[0] for problem in check_submission(archive, CASES)]
    assert rules == [rule.value for rule in (Rule.SPACING, Rule.ORIGIN, Rule.LABEL, Rule.EXTRA, Rule.MISSING)]


def test_scratch_is_left_empty(archive, tmp_path):
    (tmp_path / "scratch").mkdir()
    check_submission(archive, CASES, scratch=tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("ending", [".nii", ".mha", ".mhd", ".nrrd"])
def test_every_volume_format_that_can_be_written_passes(tmp_path, ending):
    case = ExpectedCase(task=TASK, output_name=f"c{ending}", grid=make_grid(4), label_values=(1,))
    write_labels(tmp_path / case.output_name, np.ones((4, 5, 6), np.uint8), case.grid)
    write_submission(tmp_path / "s.zip", {TASK: [tmp_path / case.output_name]})
    assert check_submission(tmp_path / "s.zip", [case]) == ()


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_every_picture_format_passes(tmp_path, ending):
    flat = Grid(
        shape_vox=(1, 5, 6),
        spacing_mm=(1.0, 1.0, 1.0),
        origin_xyz_mm=(0.0, 0.0),
        direction_xyz=(1.0, 0.0, 0.0, 1.0),
        dimension=2,
    )
    case = ExpectedCase(task=TASK, output_name=f"c{ending}", grid=flat, label_values=(1,))
    write_labels(tmp_path / case.output_name, np.ones((1, 5, 6), np.uint8), flat)
    write_submission(tmp_path / "s.zip", {TASK: [tmp_path / case.output_name]})
    assert check_submission(tmp_path / "s.zip", [case]) == ()


# Cases that are not scored.


def decathlon(task, *names):
    return [ExpectedCase(task=task, output_name=f"{n}.nii.gz", grid=make_grid(4), label_values=(1,)) for n in names]


def test_the_eleven_unscored_cases_of_the_decathlon_may_be_absent():
    liver = decathlon("Task03_Liver", "liver_140", "liver_141", "liver_190")
    vessel = decathlon("Task08_HepaticVessel", "hepaticvessel_247", "hepaticvessel_248")
    others = decathlon("Task99_Mine", "liver_141")
    assert cases_that_may_be_absent([*liver, *vessel, *others], None) == {
        ("Task03_Liver", "liver_141"),
        ("Task03_Liver", "liver_190"),
        ("Task08_HepaticVessel", "hepaticvessel_247"),
    }
    shipped = json.loads(expected_module._SHIPPED.read_text())
    assert sum(map(len, shipped.values())) == 11


@pytest.mark.parametrize("listing", [["hippocampus_001"], {TASK: ["hippocampus_001"], "Task77_Else": ["x"]}])
def test_a_listed_case_may_be_absent_but_is_checked_when_there(archive, tmp_path, listing):
    (tmp_path / "list.json").write_text(json.dumps(listing))
    absent = cases_that_may_be_absent(CASES, tmp_path / "list.json")
    assert absent == {(TASK, "hippocampus_001")}
    assert check_submission(archive, CASES, absent) == ()
    put_image(archive, tmp_path, lambda image: image * 2)
    only(check_submission(archive, CASES, absent), Rule.LABEL)
    rewrite(archive, lambda members: members.pop(MEMBER))
    assert check_submission(archive, CASES, absent) == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('["hippocampus_999"]', UsageError),
        ('{"Task04_Hippocampus": 3}', UsageError),
        ("3", UsageError),
        ("{", RecordError),
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(tmp_path, text, error):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(error):
        cases_that_may_be_absent(CASES, tmp_path / "list.json")
