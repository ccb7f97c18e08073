"""What fails outside of nnbox: it is told in words with an exit code, nothing is lost, and the same command goes on."""

from __future__ import annotations

import contextlib
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from safetensors.numpy import load_file, save_file
from tiny_runs import artefacts, short_words

from nnbox.imaging.io import read_labels, write_labels
from nnbox.submission.bundle import open_bundle, write_bundle


@pytest.fixture
def data(tiny_data, tmp_path):
    """A data set of the test's own."""
    shutil.copytree(tiny_data, tmp_path / "data" / tiny_data.name, copy_function=shutil.copy2)
    shutil.copy(tiny_data.with_name("splits.json"), tmp_path / "data")
    return tmp_path / "data" / tiny_data.name


@pytest.fixture(scope="module")
def model(runs, tiny_data, tmp_path_factory):
    """The model of a short run."""
    out = tmp_path_factory.mktemp("model")
    assert runs(*short_words(tiny_data, out)).code == 0
    return out / "model"


def is_told(run, code, *words):
    """The run ended with that code, in words, and without a traceback; nothing of it lives on."""
    assert run.code == code, run.said
    assert "Traceback" not in run.said
    for word in words:
        assert word in run.said
    assert run.left == ()


# How large a file may become, and what is the first to be larger.
FULL = {"preprocessing": (60_000, ".npy"), "a checkpoint": (600_000, "checkpoint-")}


@pytest.mark.parametrize("stage", FULL)
def test_a_full_disk_ends_a_run_with_5_and_the_same_command_goes_on(runs, large_data, tmp_path, stage):
    limit, file = FULL[stage]
    words = (*short_words(large_data, tmp_path), "--until", "train")
    run = runs(*words, file_bytes=limit)
    is_told(run, 5, file, "What to do")
    assert not list(tmp_path.rglob(".part-*"))
    again = runs(*words)
    assert again.code == 0, again.said


def test_a_full_disk_at_export_ends_predict_with_5_and_the_same_command_goes_on(runs, large_data, model, tmp_path):
    words = ("predict", "--input", large_data, "--output", tmp_path, "--model", model, "--device", "cpu")
    is_told(runs(*words, file_bytes=2500), 5, "smoke_00", "What to do")
    assert not list((tmp_path / "predictions").iterdir())
    again = runs(*words)
    assert again.code == 0, again.said
    assert "holds 2 cases" in again.said


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_an_output_that_is_read_only_is_refused_with_5_before_anything_is_read(runs, tiny_data, model, tmp_path, verb):
    out = tmp_path / "out"
    predict = ("predict", "--input", tiny_data, "--output", out, "--model", model, "--device", "cpu")
    words = short_words(tiny_data, out) if verb == "train" else predict
    with read_only(tmp_path):
        is_told(runs(*words), 5, f"the output folder {out} cannot be written", "mode 0555", "What to do")
    assert not out.exists()


def test_an_output_that_becomes_read_only_ends_a_run_with_5_and_the_same_command_goes_on(runs, tiny_data, tmp_path):
    out = tmp_path / "out"
    words = (*short_words(tiny_data, out), "--until", "train")
    with contextlib.ExitStack() as later:
        run = runs.stopped(*words, fault="told@plan:1:stop", then=lambda: later.enter_context(read_only(out)))
    is_told(run, 5, "Permission denied", "What to do")
    assert not list(out.rglob("*.npy"))
    assert not list(out.rglob(".part-*"))
    again = runs(*words)
    assert again.code == 0, again.said


@contextlib.contextmanager
def read_only(folder):
    """Let nobody write into a folder and those below it."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    try:
        for path in folders:
            path.chmod(0o555)
        yield
    finally:
        for path in folders:
            path.chmod(0o755)


def test_an_image_that_vanishes_after_it_was_read_is_named(runs, data, tmp_path):
    image = data / "imagesTr" / "smoke_003.nii.gz"
    words = (*short_words(data, tmp_path / "out"), "--until", "preprocess")
    run = runs.stopped(*words, fault="told@plan:1:stop", then=image.unlink)
    is_told(run, 3, "imagesTr/smoke_003.nii.gz", "What to do")


def test_a_test_image_that_vanishes_before_it_is_predicted_is_named(runs, data, model, tmp_path):
    image = data / "imagesTs" / "smoke_006.nii.gz"
    words = ("predict", "--input", data, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    run = runs.stopped(*words, fault="told@intake:1:stop", then=image.unlink)
    is_told(run, 3, "imagesTs/smoke_006.nii.gz", "What to do")
    assert not list((tmp_path / "out").rglob("*.zip"))


def change_a_voxel(file):
    labels, grid = read_labels(file)
    labels[4, 7, 7] = 1 - min(labels[4, 7, 7], 1)
    write_labels(file, labels, grid)


def test_a_label_that_is_changed_by_a_voxel_while_a_run_is_at_work_is_named_and_not_prepared(runs, data, tmp_path):
    label = data / "labelsTr" / "smoke_003.nii.gz"
    words = (*short_words(data, tmp_path / "out"), "--until", "preprocess")
    run = runs.stopped(*words, fault="told@plan:1:stop", then=lambda: change_a_voxel(label))
    is_told(run, 3, "labelsTr/smoke_003.nii.gz was changed while the run was at work", "What to do")
    assert not list((tmp_path / "out" / "prepared").rglob("smoke_003*"))
    assert runs(*words).code == 0
    assert runs(*short_words(data, tmp_path / "anew"), "--until", "preprocess").code == 0
    found, expected = artefacts(tmp_path / "out"), artefacts(tmp_path / "anew")
    assert {name: digest for name, digest in found.items() if name.startswith("prepared/")} == {
        name: digest for name, digest in expected.items() if name.startswith("prepared/")
    }


def test_a_test_image_that_is_changed_before_it_is_predicted_is_named(runs, data, model, tmp_path):
    first, second = (data / "imagesTs" / f"smoke_00{number}.nii.gz" for number in (5, 6))
    words = ("predict", "--input", data, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    run = runs.stopped(*words, fault="told@intake:1:stop", then=lambda: shutil.copy(first, second))
    is_told(run, 3, "imagesTs/smoke_006.nii.gz was changed while the run was at work", "What to do")
    assert not (tmp_path / "out" / "predictions" / "smoke_006.nii.gz").exists()


def as_meta(data):
    """Write a data set's files anew as headers with their voxels in a file beside them; their names change alike."""
    for path in sorted(data.glob("*/*.nii.gz")):
        sitk.WriteImage(sitk.ReadImage(path), path.with_name(path.name.replace(".nii.gz", ".mhd")))
        path.unlink()
    description = data / "dataset.json"
    description.write_text(description.read_text().replace(".nii.gz", ".mhd"))


def change_a_byte(file):
    stored = bytearray(file.read_bytes())
    stored[0] ^= 1
    file.write_bytes(stored)


def test_voxels_beside_their_header_that_are_changed_while_a_run_is_at_work_are_named(runs, data, tmp_path):
    as_meta(data)
    words = (*short_words(data, tmp_path / "out"), "--until", "preprocess")
    raw = data / "imagesTr" / "smoke_003.raw"
    run = runs.stopped(*words, fault="told@plan:1:stop", then=lambda: change_a_byte(raw))
    is_told(run, 3, "imagesTr/smoke_003.raw was changed while the run was at work", "What to do")
    assert not list((tmp_path / "out" / "prepared").rglob("smoke_003*"))


def test_voxels_beside_their_header_that_are_changed_before_they_are_predicted_are_named(runs, data, model, tmp_path):
    as_meta(data)
    words = ("predict", "--input", data, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    raw = data / "imagesTs" / "smoke_006.raw"
    run = runs.stopped(*words, fault="told@intake:1:stop", then=lambda: change_a_byte(raw))
    is_told(run, 3, "imagesTs/smoke_006.raw was changed while the run was at work", "What to do")
    assert not (tmp_path / "out" / "predictions" / "smoke_006.mhd").exists()


def test_voxels_beside_their_header_that_are_changed_after_a_run_are_refused_and_named(runs, data, tmp_path):
    as_meta(data)
    words = (*short_words(data, tmp_path / "out"), "--until", "train")
    assert runs(*words).code == 0
    before = artefacts(tmp_path / "out")
    for folder in ("imagesTr", "labelsTr"):
        change_a_byte(data / folder / "smoke_003.raw")
        is_told(runs(*words), 5, f"{folder.removesuffix('sTr')} {folder}/smoke_003.raw", "What to do")
    assert artefacts(tmp_path / "out") == before


def test_the_prediction_of_an_image_that_is_there_no_more_is_named_and_not_archived(runs, data, model, tmp_path):
    words = ("predict", "--input", data, "--output", tmp_path / "out", "--model", model, "--device", "cpu")
    assert runs(*words).code == 0
    description = json.loads((data / "dataset.json").read_text())
    description["test"] = [name for name in description["test"] if "smoke_006" not in str(name)]
    (data / "dataset.json").write_text(json.dumps(description))
    (data / "imagesTs" / "smoke_006.nii.gz").unlink()
    run = runs(*words)
    assert run.code == 0, run.said
    assert "still holds smoke_006.nii.gz, of images that are not among the 1 to predict" in " ".join(run.said.split())
    assert "holds 1 cases" in run.said


def test_a_damaged_prepared_file_is_prepared_again_and_it_is_said(runs, tiny_data, tmp_path):
    words = (*short_words(tiny_data, tmp_path), "--until", "preprocess")
    assert runs(*words).code == 0
    file = tmp_path / "prepared" / "2d" / "smoke_002.image.npy"
    others = {path: path.stat().st_mtime_ns for path in file.parent.iterdir() if "smoke_002" not in path.name}
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    run = runs(*words)
    assert run.code == 0
    assert "case smoke_002: prepared/2d/smoke_002.image.npy damaged or missing; prepared again" in run.said
    assert file.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_case_whose_worker_is_killed_twice_is_named_and_the_others_are_kept(runs, tiny_data, tmp_path):
    words = (*short_words(tiny_data, tmp_path), "--until", "preprocess")
    run = runs(*words, NNBOX_FAULT_POINT="before rename@*/smoke_003.labels.npy:1:alone")
    is_told(run, 5, "was killed by signal 9", "once more with one worker", "case smoke_003", "What to do")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "prepared").rglob("*_001*")}
    assert kept
    assert runs(*words).code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_prediction_that_is_lost_on_the_way_means_no_archive_and_7(runs, tiny_data, model, tmp_path):
    words = ("predict", "--input", tiny_data, "--output", tmp_path, "--model", model, "--device", "cpu")
    prediction = tmp_path / "predictions" / "smoke_005.nii.gz"
    run = runs.stopped(*words, fault="told@predicted:2:stop", then=prediction.unlink)
    is_told(run, 7, "smoke_005.nii.gz", "missing")
    assert not list(tmp_path.rglob("*.zip"))
    assert runs(*words).code == 0


def test_predictions_of_background_only_are_flagged_in_log_and_at_the_end(runs, tiny_data, model, tmp_path):
    words = ("predict", "--input", tiny_data, "--output", tmp_path / "out", "--device", "cpu")
    words = (*words, "--model", blind(model, tmp_path))
    for _ in range(2):  # the second time nothing is predicted, and it is said all the same
        run = runs(*words)
        assert run.code == 0, run.said
        last = run.said[run.said.index("passes every check") :]
        assert "2 of 2 predictions hold background only: smoke_005, smoke_006" in " ".join(last.split())
    events = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [event["severity"] for event in events if event["event"] == "empty"] == ["warning"] * 2


def test_background_only_is_flagged_though_the_run_was_killed_or_the_log_has_lost_the_word(
    runs, tiny_data, model, tmp_path
):
    out = tmp_path / "out"
    words = ("predict", "--input", tiny_data, "--output", out, "--device", "cpu", "--model", blind(model, tmp_path))
    assert runs(*words, NNBOX_FAULT_POINT="told@predicted:1:alone").code == -9
    lines = (out / "log.jsonl").read_text().splitlines(keepends=True)
    (out / "log.jsonl").write_text("".join(line for line in lines if '"predicted"' not in line))
    for _ in range(2):
        run = runs(*words)
        assert run.code == 0, run.said
        assert "2 of 2 predictions hold background only: smoke_005, smoke_006" in " ".join(run.said.split())
        (out / "log.jsonl").unlink()


def blind(model, folder):
    """Return a model whose networks give every class the same probability everywhere: the lowest, background, wins."""
    seeing = open_bundle(model, folder)
    weights = {}
    for (name, fold), path in seeing.weights.items():
        weights[name, fold] = folder / f"{name}-{fold}.safetensors"
        save_file({key: np.zeros_like(value) for key, value in load_file(path).items()}, weights[name, fold])
    write_bundle(folder / "blind", seeing.plan, seeing.selection, weights)
    return folder / "blind"
