"""What a user types, word for word, and what the program answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import zipfile

import numpy as np
import pytest

from nnbox import verbs
from nnbox.cli import _spread_lists, main
from nnbox.imaging.io import read_header, write_labels
from nnbox.records.events import read_events
from nnbox.stages.model_place import find_model
from nnbox.stages.presence import NAME, last_presence
from nnbox.stages.submission import check_archive

SHORT = (
    *("--configurations", "3d_fullres", "--folds", "0", "--epochs", "1", "--iterations", "1", "--device", "cpu"),
    *("--planning-memory", "0.003", "--workers", "0"),
)


def _run(*words):
    return main([str(word) for word in words])


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("--folds 0 1", "--folds 0 --folds 1"),
        ("--exclude=a b --seed 1", "--exclude=a --exclude b --seed 1"),
        ("--folds 0,1 --channels A B", "--folds 0,1 --channels A --channels B"),
        ("file --input x", "file --input x"),
    ],
)
def test_lists_may_be_typed_with_spaces_or_an_equals_sign(typed, read):
    assert _spread_lists(typed.split()) == read.split()


@pytest.mark.parametrize("place", [".", "imagesTr", "results", "nnbox/../x"])
@pytest.mark.parametrize("verb", ["train", "predict"])
def test_an_output_among_the_input_files_is_refused(tiny, capsys, verb, place):
    before = sorted(tiny.rglob("*"))
    assert _run(verb, "--input", tiny, "--output", tiny / place) == 2
    assert str(tiny / "nnbox") in capsys.readouterr().err
    assert sorted(tiny.rglob("*")) == before


def test_an_output_inside_the_input_through_a_link_is_refused(tiny, tmp_path):
    (tmp_path / "link").symlink_to(tiny)
    assert _run("train", "--input", tiny, "--output", tmp_path / "link") == 2
    assert (tiny / "dataset.json").is_file()


def test_stopping_after_the_intake_keeps_the_record(tiny, tmp_path):
    out = tmp_path / "out"
    assert _run("train", "--input", tiny, "--output", out, "--until", "intake", "--workers", 0) == 0
    assert json.loads((out / "dataset.json").read_text())["task"] == tiny.name


def test_warnings_are_told_again_when_the_data_set_is_not_read_again(tiny, tmp_path, capsys):
    words = (
        "train",
        "--input",
        tiny,
        "--output",
        tmp_path / "out",
        "--until",
        "plan",
        "--exclude",
        "smoke_002",
        *SHORT,
    )
    assert _run(*words) == 0
    first = capsys.readouterr()
    assert _run(*words) == 0
    second = capsys.readouterr()
    assert "unchanged since it was read" in second.out
    assert "only 4 labelled cases" in first.err
    assert second.err == first.err


def test_restart_moves_nothing_when_the_command_cannot_be_carried_out(tiny, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text("{}")
    words = ("train", "--input", tiny, "--output", out, "--restart")
    assert _run(*words, "--device", "tpu") == 2
    assert _run(*words, "--planning-memory", 0) == 2
    assert (out / "plan.json").exists()


def _bare(tiny):
    """Make a Decathlon data set bare."""
    (tiny / "dataset.json").unlink()
    return tiny


def test_a_bare_data_set_is_trained_predicted_and_its_archive_checked(tiny, tmp_path, capsys):
    data, out = _bare(tiny), tmp_path / "out"
    assert _run("train", "--input", data, "--output", out, "--channels", "T1", *SHORT) == 0
    archive = out / "submission" / f"{data.name}.zip"
    assert _run("check-submission", archive, "--input", data) == 0
    again = tmp_path / "again"
    words = ("predict", "--input", data, "--output", again, "--model", out, "--device", "cpu", "--workers", 0)
    assert _run(*words) == 0, capsys.readouterr().err
    with zipfile.ZipFile(archive) as first, zipfile.ZipFile(again / "submission" / archive.name) as second:
        assert [(item.filename, item.CRC) for item in first.infolist()] == [
            (item.filename, item.CRC) for item in second.infolist()
        ]


def test_an_archive_with_a_value_that_a_bare_data_set_lacks_is_refused(tiny, tmp_path):
    data = _bare(tiny)
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for path in sorted((data / "imagesTs").iterdir()):
            grid = read_header(path).grid
            write_labels(tmp_path / path.name, np.full(grid.shape_vox, 2, np.uint8), grid)
            target.write(tmp_path / path.name, f"{data.name}/{path.name}")
    problems, count = check_archive(archive, data, None)
    assert count == 2
    assert all("unknown label" in problem.what and "[0, 1, 3]" in problem.expected for problem in problems)
    assert len(problems) == 2


def test_channel_names_given_at_training_overrule_the_data_sets_when_predicting(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    assert _run("train", "--input", tiny, "--output", out, "--channels", "CT", *SHORT) == 0
    words = ("predict", "--input", tiny, "--output", tmp_path / "p", "--model", out, "--device", "cpu", "--workers", 0)
    assert _run(*words) == 0, capsys.readouterr().err


def test_numbered_images_in_a_flat_folder_are_cases_for_a_model_of_one_channel(finished, tmp_path, tiny_source, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((tiny_source / "imagesTs").iterdir())):
        shutil.copy(path, flat / f"scan_{number:04d}.nii.gz")
    out, _, _, _ = finished
    words = ("predict", "--input", flat, "--output", tmp_path / "p", "--model", out, "--device", "cpu", "--workers", 0)
    assert _run(*words, "--folds", 0, "--no-mirroring") == 0, capsys.readouterr().err
    names = sorted(path.name for path in (tmp_path / "p" / "predictions").iterdir())
    assert names == ["scan_0000.nii.gz", "scan_0001.nii.gz"]


def test_inspect_shows_what_was_detected_also_when_there_are_errors(tiny, capsys):
    for path in (tiny / "imagesTr").iterdir():
        path.write_bytes(b"")
    assert _run("inspect", "--input", tiny, "--workers", 0) == 3
    told = capsys.readouterr()
    assert "decathlon" in told.out
    assert told.err.count("case smoke_00") == 5


@pytest.mark.parametrize(
    ("labelled", "model", "images", "verb"),
    [
        (True, False, True, "train"),
        (False, True, True, "predict"),
        (True, True, True, None),
        (False, False, True, None),
        (False, True, False, None),
        (False, False, False, None),
    ],
)
def test_without_a_verb_the_folder_decides(tiny, tmp_path, labelled, model, images, verb):
    root = tmp_path / "input"
    if labelled:
        shutil.copytree(tiny, root)
    elif images:
        shutil.copytree(tiny / "imagesTs", root)
    else:
        root.mkdir()
    if model:
        (root / "nnbox" / "model").mkdir(parents=True)
        (root / "nnbox" / "model" / "manifest.json").write_text("{}")
    if verb is not None:
        assert verbs.decide(root, str(root / "nnbox")) == [verb]
        return
    with pytest.raises(verbs.UsageError) as error:
        verbs.decide(root, str(root / "nnbox"))
    assert str(error.value).count(str(root)) <= 2
    assert "What to do: type 'train'" in str(error.value)


def test_a_missing_mount_is_told_in_one_sentence(tmp_path):
    with pytest.raises(verbs.UsageError, match="mount the data set there"):
        verbs.decide(tmp_path / "absent", None)


def test_plan_in_the_container_reads_the_mounted_data_set(tiny, monkeypatch, capsys):
    monkeypatch.setenv("NNBOX_INPUT", str(tiny))
    assert _run("plan", "--json", "--workers", 0) == 0
    assert json.loads(capsys.readouterr().out)["task"] == tiny.name


@pytest.mark.parametrize("words", [("plan", "--fingerprint", "."), ("synthesize", "/dev/null/data")])
def test_what_the_machine_refuses_is_no_bug(words, capsys):
    assert _run(*words) == 5
    assert "Traceback" not in capsys.readouterr().err


def test_running_out_of_memory_is_no_bug(tiny, tmp_path, monkeypatch, capsys):
    """Found anywhere: here by numpy, where a run that has left word of itself reads its data."""
    monkeypatch.setattr("nnbox.stages.train.take_in_dataset", lambda *_: np.empty(1 << 55))
    assert _run("train", "--input", tiny, "--output", tmp_path / "out", "--device", "cpu", "--workers", 0) == 5
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    assert "memory ran out (Unable to allocate 256. PiB for an array" in said
    assert "What to do: give more memory" in said
    last = read_events(tmp_path / "out" / "log.jsonl")[-1]
    assert (last.event, last.facts["exit_code"]) == ("failed", 5)
    assert last_presence(tmp_path / "out" / NAME).ended.startswith("exit code 5: memory ran out")


def test_running_out_of_memory_outside_of_a_run_is_no_bug(tiny, monkeypatch, capsys):
    monkeypatch.setattr(verbs, "train", lambda _: np.empty(1 << 55))
    assert _run("train", "--input", tiny) == 5
    assert "What to do: give more memory" in capsys.readouterr().err


def test_an_interrupt_says_that_the_same_command_continues(tiny, tmp_path, monkeypatch, capsys, request):
    monkeypatch.setattr(verbs, "train", lambda _: os.kill(os.getpid(), signal.SIGINT))
    # A shell starts background jobs with interrupts ignored; the test must not depend on how it was started.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    assert _run("train", "--input", tiny, "--output", tmp_path / "out") == 130
    assert "the same command continues" in capsys.readouterr().err


def test_a_termination_says_that_the_same_command_continues(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verbs, "train", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        _run("train", "--input", tiny, "--output", tmp_path / "out")
    assert end.value.code == 143
    assert "the same command continues" in capsys.readouterr().err


def test_a_model_is_found_among_those_of_several_tasks(tmp_path):
    for task in ("Task01_One", "Task02_Two"):
        (tmp_path / "models" / task / "model").mkdir(parents=True)
        (tmp_path / "models" / task / "model" / "manifest.json").write_text("{}")
    found = find_model(tmp_path / "models", tmp_path / "Task02_Two", None)
    assert found == tmp_path / "models" / "Task02_Two" / "model"
    assert find_model(tmp_path / "models", tmp_path, None, "Task01_One") == tmp_path / "models" / "Task01_One" / "model"
    assert find_model(tmp_path / "absent", tmp_path, None) == tmp_path / "absent"


def test_a_damaged_test_image_is_told_and_leaving_it_out_is_said_aloud(finished, tiny, tmp_path, capsys):
    out, _, _, _ = finished
    image = tiny / "imagesTs" / "smoke_006.nii.gz"
    image.write_bytes(image.read_bytes()[:60])
    words = ("predict", "--input", tiny, "--output", tmp_path / "p", "--model", out, "--device", "cpu", "--workers", 0)
    assert _run(*words) == 3
    assert "--exclude smoke_006" in capsys.readouterr().err
    assert _run(*words, "--exclude", "smoke_006", "--folds", 0, "--no-mirroring") == 0
    assert "the archive will lack smoke_006" in capsys.readouterr().err
    assert _run("check-submission", tmp_path / "p" / "submission" / f"{tiny.name}.zip", "--input", tiny) == 3
    assert "--exclude" not in capsys.readouterr().err
