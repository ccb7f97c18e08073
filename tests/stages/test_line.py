"""The whole line: what it leaves, what it does twice (nothing), and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile

import numpy as np
import pytest

from nnbox.cli import main
from nnbox.errors import ChangedRunError, DataError, IncompleteOutputError, ResourceError, TrainingError, UsageError
from nnbox.files import digest_file
from nnbox.imaging.io import read_header, read_labels, write_labels
from nnbox.intake.options import IntakeOptions
from nnbox.records.codec import read_record
from nnbox.records.engine import EngineWishes, SpeedUp
from nnbox.records.plan import Folds, Plan
from nnbox.records.precision import Precision
from nnbox.records.results import CrossValidation, Selection
from nnbox.report.facts import State
from nnbox.stages.intake import listing_digest
from nnbox.stages.lock import held
from nnbox.stages.model_place import find_model
from nnbox.stages.options import PredictOptions, Until
from nnbox.stages.outcome import TaskOutcome, require_none_failed
from nnbox.stages.places import require_scratch
from nnbox.stages.predict import predict
from nnbox.stages.schedule import schedule_units
from nnbox.stages.status import read_status
from nnbox.stages.submission import check_archive
from nnbox.stages.train import train
from nnbox.stages.workspace import Workspace

_OWN = {"log.jsonl", "report.html", ".lock", ".presence.json"}


def _digests(folder, pattern="**/*"):
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.glob(pattern))
        if path.is_file()
        and path.name not in {"log.jsonl", "report.html", ".lock", ".presence.json"}
        and "claims" not in path.parts
    }


def test_the_line_leaves_every_documented_file(finished):
    out, _, _, _ = finished
    for name in ("dataset", "fingerprint", "plan", "folds", "crossvalidation", "selection"):
        assert json.loads((out / f"{name}.json").read_text())["version"] == 1
    plan = read_record(out / "plan.json", Plan)
    assert [item.name for item in plan.configurations] == ["2d", "3d_fullres", "3d_lowres", "3d_cascade"]
    for item in plan.configurations:
        for fold in range(5):
            folder = out / "training" / item.name / f"fold_{fold}"
            assert {"progress.csv", "weights.safetensors", "result.json"} <= {path.name for path in folder.iterdir()}
    assert (out / "model" / "manifest.json").is_file()
    assert (out / "model.tar.gz").is_file()
    assert (out / "submission" / "Task01_Tiny.zip").is_file()
    events = [json.loads(line)["event"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert events.count("trained") == 20
    assert {"plan", "selection", "submission", "projection"} <= set(events)


def test_every_full_resolution_configuration_and_every_pair_is_a_candidate(finished):
    out, _, _, _ = finished
    evidence = read_record(out / "crossvalidation.json", CrossValidation)
    names = {candidate.name for candidate in evidence.candidates}
    assert names == {
        *("2d", "3d_fullres", "3d_cascade"),
        *("2d+3d_fullres", "2d+3d_cascade", "3d_fullres+3d_cascade"),
    }
    assert [candidate.name for candidate in evidence.not_candidates] == ["3d_lowres"]
    assert not evidence.partial
    for candidate in evidence.candidates:
        assert len(candidate.cases) == 5


def test_predictions_lie_on_the_grids_of_their_images_with_the_original_values(finished, tiny_source):
    out, _, _, _ = finished
    images = sorted((tiny_source / "imagesTs").iterdir())
    assert [path.name for path in sorted((out / "predictions").iterdir())] == [path.name for path in images]
    for image in images:
        labels, grid = read_labels(out / "predictions" / image.name)
        assert grid == read_header(image).grid
        assert set(np.unique(labels)) <= {0, 1, 3}
        assert read_header(out / "predictions" / image.name).pixel_type == "uint8"


def test_the_archive_passes_the_check(finished, tiny_source):
    out, _, _, _ = finished
    assert check_archive(out / "submission" / "Task01_Tiny.zip", tiny_source, None) == ((), 2)


def test_each_first_stage_prediction_names_a_fold_that_did_not_see_the_case(finished):
    out, _, _, _ = finished
    folds = read_record(out / "folds.json", Folds)
    for fold, cases in enumerate(folds.validation):
        for case in cases:
            side = json.loads((out / "prepared" / "3d_cascade_previous" / f"{case}.json").read_text())
            assert side["model_folds"] == [fold]
            assert case not in side["trained_on"]


def test_the_same_command_again_changes_nothing(finished, listener):
    out, options, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (out / "receipts").rglob("*.json")}
    digests = _digests(out)
    train(options, listener)
    assert {path: path.stat().st_mtime_ns for path in (out / "receipts").rglob("*.json")} == before
    assert _digests(out) == digests
    assert "is trained already" in listener.text


def test_predict_with_the_bundle_gives_what_train_gave(finished, tiny_source, tmp_path, listener):
    out, _, _, _ = finished
    for model in (out / "model", out / "model.tar.gz"):
        target = tmp_path / model.name
        predict(PredictOptions(input=tiny_source, output=target, model=model, device="cpu", workers=0), listener)
        assert _digests(target / "predictions") == _digests(out / "predictions")
        assert _digests(target / "submission") == _digests(out / "submission")


def test_a_flat_folder_of_images_is_predicted_whole(finished, tiny_source, tmp_path, listener):
    out, _, _, _ = finished
    flat = tmp_path / "images"
    shutil.copytree(tiny_source / "imagesTs", flat)
    options = PredictOptions(input=flat, output=tmp_path / "flat-out", model=out / "model", device="cpu", workers=0)
    predict(options, listener)
    assert _digests(tmp_path / "flat-out" / "predictions") == _digests(out / "predictions")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"MRI"', '"CT"'), "the model expects ['MRI']"),
        (lambda text: text, "the model is of Task01_Tiny"),
    ],
)
def test_a_model_of_another_task_is_refused(finished, tiny_source, tmp_path, listener, change, words):
    out, _, _, _ = finished
    other = tmp_path / ("Task02_Other" if "is of" in words else "Task01_Tiny")
    shutil.copytree(tiny_source, other)
    description = other / "dataset.json"
    description.write_text(change(description.read_text()))
    options = PredictOptions(input=other, output=tmp_path / "o", model=out / "model", device="cpu", workers=0)
    with pytest.raises(DataError) as error:
        predict(options, listener)
    assert words in str(error.value)


def test_folds_the_model_does_not_have_are_refused(finished, tiny_source, tmp_path, listener):
    out, _, _, _ = finished
    options = PredictOptions(input=tiny_source, output=tmp_path / "o", model=out / "model", folds=(7,), device="cpu")
    with pytest.raises(UsageError, match="--folds 7"):
        predict(options, listener)


class _StoppedError(Exception):
    pass


@pytest.mark.parametrize("sentence", ["epoch 1 of", "fold 2: trained", "selection:", "predicted "])
def test_a_resumed_run_ends_like_an_uninterrupted_one(tiny_options, tmp_path, listener, sentence):
    whole = dataclasses.replace(tiny_options, output=tmp_path / "whole")
    train(whole, listener)

    def stop(_severity, said):
        if sentence in said:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        train(tiny_options, stop)
    train(tiny_options, listener)
    for part in ("training/**/weights.safetensors", "predictions/*", "submission/*", "selection.json"):
        assert _digests(tiny_options.output, part) == _digests(whole.output, part)
        assert _digests(whole.output, part)


@pytest.fixture
def trained(tiny_options, listener):
    """A finished run of the test's own."""
    train(tiny_options, listener)
    return tiny_options


def test_changed_options_are_refused_before_any_work(trained, listener):
    before = _digests(trained.output)
    with pytest.raises(ChangedRunError) as error:
        train(dataclasses.replace(trained, epochs=3, seed=1), listener)
    remedy = "repeat the command as it was, with --epochs 2 --seed 0;"
    for words in ("--epochs: 2 -> 3", "--seed: 0 -> 1", remedy, "--restart", "3d_fullres/fold_0"):
        assert words in str(error.value)
    with pytest.raises(ChangedRunError) as error:
        train(
            dataclasses.replace(trained, engine=EngineWishes(precision=Precision.BF16, without=tuple(SpeedUp)[:1])),
            listener,
        )
    remedy = "with --precision auto and without --without;"
    for words in ("--precision: auto -> bf16, where auto chooses by the device (", "--without: not given -> ", remedy):
        assert words in str(error.value)
    assert _digests(trained.output) == before


def test_a_changed_label_is_refused_and_named(trained, tiny, listener):
    path = next((tiny / "labelsTr").iterdir())
    labels, grid = read_labels(path)
    labels[0, 0, 0] = 1
    write_labels(path, labels, grid)
    before = _digests(trained.output)
    with pytest.raises(ChangedRunError, match=f"label labelsTr/{path.name}"):
        train(trained, listener)
    assert _digests(trained.output) == before


def test_a_new_test_image_only_means_a_new_prediction(trained, tiny, listener):
    weights = _digests(trained.output, "training/**/*")
    first = tiny / "imagesTs" / "smoke_006.nii.gz"
    shutil.copy(first, tiny / "imagesTs" / "smoke_099.nii.gz")
    description = json.loads((tiny / "dataset.json").read_text())
    description["test"].append("./imagesTs/smoke_099.nii.gz")
    (tiny / "dataset.json").write_text(json.dumps(description))
    listener.said.clear()
    train(trained, listener)
    predicted = [sentence for sentence in listener.said if sentence.startswith("predicted")]
    assert len(predicted) == 1
    assert "smoke_099" in predicted[0]
    assert _digests(trained.output, "training/**/*") == weights
    found = _digests(trained.output / "predictions")
    assert found["smoke_099.nii.gz"] == found["smoke_006.nii.gz"]


def test_restart_moves_the_old_run_aside(trained, listener):
    old = digest_file(trained.output / "training/3d_fullres/fold_0/weights.safetensors")
    train(dataclasses.replace(trained, restart=True, seed=5, until=Until.PLAN), listener)
    aside = next((trained.output / "previous-runs").iterdir())
    assert digest_file(aside / "training/3d_fullres/fold_0/weights.safetensors") == old
    assert not (trained.output / "training").exists()


def test_damaged_weights_are_trained_again_and_said_aloud(trained, listener):
    path = trained.output / "training/3d_fullres/fold_1/weights.safetensors"
    good = digest_file(path)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    listener.said.clear()
    train(trained, listener)
    assert "is damaged or missing" in listener.text
    assert digest_file(path) == good


def test_a_subset_of_the_folds_gives_a_partial_selection(tiny_options, listener):
    train(dataclasses.replace(tiny_options, folds=(0, 2)), listener)
    selection = read_record(tiny_options.output / "selection.json", Selection)
    assert selection.partial
    assert selection.folds == {"3d_fullres": (0, 2)}
    train(tiny_options, listener)
    assert not read_record(tiny_options.output / "selection.json", Selection).partial


def test_nothing_under_the_input_changes(tiny_options, tiny, listener):
    before = listing_digest(tiny), _digests(tiny)
    train(dataclasses.replace(tiny_options, folds=(0,)), listener)
    assert (listing_digest(tiny), _digests(tiny)) == before


def test_without_an_output_the_results_lie_beside_the_data_and_predict_finds_the_model(tiny_options, tiny, listener):
    options = dataclasses.replace(tiny_options, output=None, folds=(0,))
    train(options, listener)
    assert find_model(None, tiny, None) == tiny / "nnbox" / "model"
    train(options, listener)
    assert "unchanged since it was read" in listener.text


def test_several_tasks_give_one_archive(tiny_options, tiny, tmp_path, listener):
    root = tmp_path / "tasks"
    for name in ("Task01_One", "Task02_Two"):
        shutil.copytree(tiny, root / name)
    options = dataclasses.replace(tiny_options, input=root, folds=(0,))
    outcomes = train(options, listener)
    assert [outcome.workspace.root.name for outcome in outcomes] == ["Task01_One", "Task02_Two"]
    assert check_archive(options.output / "submission" / "submission.zip", root, None) == ((), 4)
    target = tmp_path / "predicted"
    predict(PredictOptions(input=root, output=target, model=options.output, device="cpu", workers=0), listener)
    assert _digests(target / "submission") == _digests(options.output / "submission")


def test_a_task_that_fails_does_not_keep_the_others_from_being_done(tiny_options, tiny, tmp_path, listener):
    root = tmp_path / "tasks"
    for name in ("Task01_One", "Task02_Two"):
        shutil.copytree(tiny, root / name)
    label = next((root / "Task01_One" / "labelsTr").iterdir())
    whole = label.read_bytes()
    label.write_bytes(whole[:100])
    options = dataclasses.replace(tiny_options, input=root, folds=(0,))
    with pytest.raises(DataError, match=r"1 of 2 tasks failed.*\n.*Task01_One \(exit code 3\)") as caught:
        train(options, listener)
    assert caught.value.exit_code == 3
    assert "Task01_One failed (exit code 3)" in listener.text
    assert f"labelsTr/{label.name}" in listener.text
    assert read_status(Workspace(options.output / "Task01_One")).state == State.FAILED
    assert read_status(Workspace(options.output / "Task02_Two")).state == State.FINISHED
    assert len(list((options.output / "Task02_Two" / "predictions").iterdir())) == 2
    assert not list(options.output.rglob("*.zip"))
    label.write_bytes(whole)
    listener.said.clear()
    train(options, listener)
    assert listener.text.count("is trained already") == 1
    assert check_archive(options.output / "submission" / "submission.zip", root, None) == ((), 4)


def test_a_task_whose_output_cannot_be_written_does_not_keep_the_others_from_being_done(
    tiny_options, tiny, tmp_path, listener
):
    root = tmp_path / "tasks"
    for name in ("Task01_One", "Task02_Two"):
        shutil.copytree(tiny, root / name)
    options = dataclasses.replace(tiny_options, input=root, folds=(0,), until=Until.PLAN)
    (options.output / "Task01_One" / "plan.json").mkdir(parents=True)
    with pytest.raises(ResourceError, match=r"1 of 2 tasks failed.*\n.*Task01_One \(exit code 5\).*plan.json"):
        train(options, listener)
    assert "see that the path is right" in listener.text
    assert (options.output / "Task02_Two" / "plan.json").is_file()
    with pytest.raises(OSError, match=r"plan.json"):
        train(dataclasses.replace(options, input=root / "Task01_One", output=options.output / "Task01_One"), listener)


def test_a_failure_without_words_is_counted_all_the_same(tmp_path):
    ends = [TaskOutcome(workspace=Workspace(tmp_path / "Task01_One"), failed=TrainingError(""))]
    with pytest.raises(TrainingError, match=r"1 of 1 tasks failed"):
        require_none_failed(ends)


def test_the_exit_code_of_several_tasks_is_the_highest(tmp_path):
    def outcome(name, failed):
        return TaskOutcome(workspace=Workspace(tmp_path / name), failed=failed)

    require_none_failed([outcome("Task01_One", None), outcome("Task02_Two", None)])
    ends = [outcome("Task01_One", TrainingError("a")), outcome("Task02_Two", DataError("b"))]
    with pytest.raises(TrainingError, match=r"2 of 3 tasks failed") as caught:
        require_none_failed([*ends, outcome("Task03_Three", None)])
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("tasks", [1, 2])
def test_test_images_that_no_network_can_predict_are_told_with_7(tiny_options, tiny, tmp_path, listener, tasks):
    root = tiny
    if tasks > 1:
        root = tmp_path / "tasks"
        for name in ("Task01_One", "Task02_Two"):
            shutil.copytree(tiny, root / name)
    options = dataclasses.replace(tiny_options, input=root, configurations=("3d_lowres",), folds=(0,), epochs=1)
    options = dataclasses.replace(options, planning_memory_gb=0.0015)
    with pytest.raises(IncompleteOutputError, match=r"none of the 2 test images is predicted.*--until train") as caught:
        train(options, listener)
    assert caught.value.exit_code == 7
    assert not list(options.output.rglob("*.zip"))
    if tasks == 1:
        train(dataclasses.replace(options, until=Until.SELECT), listener)


def test_two_runs_do_not_share_an_output(tiny_options, listener):
    with held(tiny_options.output / ".lock"), pytest.raises(ResourceError, match="another run is writing"):
        train(tiny_options, listener)


def test_the_cascade_brings_every_fold_of_its_first_stage_along(finished):
    out, _, _, _ = finished
    plan, folds = read_record(out / "plan.json", Plan), read_record(out / "folds.json", Folds)
    schedule = schedule_units(plan, folds, ("3d_cascade",), (1,))
    assert schedule.units == (*(("3d_lowres", fold) for fold in range(5)), ("3d_cascade", 1))
    assert "3d_lowres is trained in all 5 folds" in schedule.notes[0]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("recipe", "2021", "--recipe 2021: expected one of 2018, 2019"),
        ("configurations", ("4d",), "--configurations 4d: this data set's plan has"),
        ("folds", (5,), "--folds 5: this data set has folds 0 to 4"),
        ("device", "tpu", "--device tpu"),
    ],
)
def test_options_that_cannot_be_carried_out_are_refused(tiny_options, listener, option, value, words):
    with pytest.raises(UsageError) as error:
        train(dataclasses.replace(tiny_options, **{option: value}), listener)
    assert words in str(error.value)


def test_a_long_cpu_run_that_nobody_asked_for_is_stopped(tiny_options, listener):
    # 1000 epochs of so many steps take years; nothing but the projection can end this test.
    options = dataclasses.replace(tiny_options, epochs=None, iterations=1_000_000, device="auto")
    with pytest.raises(ResourceError, match="--gpus all"):
        train(options, listener)


def test_a_bad_data_set_is_refused_with_every_problem(tiny_options, tiny, listener):
    labels = sorted((tiny / "labelsTr").iterdir())
    labels[0].unlink()
    labels[1].write_bytes(labels[1].read_bytes()[:100])
    with pytest.raises(DataError) as error:
        train(tiny_options, listener)
    assert labels[0].name in str(error.value)
    assert labels[1].name in str(error.value)
    assert "--exclude" in str(error.value)


def test_excluded_cases_are_recorded(tiny_options, listener):
    options = dataclasses.replace(
        tiny_options, intake=IntakeOptions(exclude=("smoke_002",)), until=Until.PLAN, folds=None
    )
    train(options, listener)
    assert json.loads((options.output / "dataset.json").read_text())["choices"]["excluded"] == ["smoke_002"]
    plan = read_record(options.output / "plan.json", Plan)
    assert plan.choices.excluded == ("smoke_002",)
    assert len(read_record(options.output / "folds.json", Folds).validation) == 4


def test_the_command_line_answers_with_exit_codes(tiny, tmp_path, capsys):
    assert main(["train", "--input", str(tiny), "--output", str(tmp_path / "o"), "--recipe", "1999"]) == 2
    assert main(["train", "--input", str(tmp_path / "absent"), "--output", str(tmp_path / "o")]) in {2, 3}
    assert main(["predict", "--input", str(tiny), "--output", str(tmp_path / "p")]) == 2
    assert main(["check-submission", str(tmp_path / "absent.zip"), "--input", str(tiny)]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_machine_without_a_temporary_folder_gets_one_in_the_output(tmp_path, monkeypatch):
    def none():
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "")
    require_scratch(tmp_path)
    assert tempfile.tempdir == os.environ["TMPDIR"] == str(tmp_path / ".scratch")


def test_a_plan_that_would_orphan_trained_networks_is_refused_whatever_is_trained_now(trained, listener):
    other = dataclasses.replace(trained, configurations=("2d",), planning_memory_gb=0.006)
    with pytest.raises(ChangedRunError, match="plan of 3d_fullres"):
        train(other, listener)
    assert read_record(trained.output / "plan.json", Plan).planning_memory_gb == trained.planning_memory_gb


def test_another_configuration_prepares_only_its_own_store(trained, listener):
    store = trained.output / "prepared" / "3d_fullres"
    before = {path.name: path.stat().st_mtime_ns for path in store.iterdir()}
    both = dataclasses.replace(trained, configurations=("2d", "3d_fullres"), until=Until.PREPROCESS)
    train(both, listener)
    assert {path.name: path.stat().st_mtime_ns for path in store.iterdir()} == before
    assert len(list((trained.output / "prepared" / "2d").glob("*.json"))) == 5
