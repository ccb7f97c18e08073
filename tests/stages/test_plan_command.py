"""``nnbox plan --fingerprint``: what it prints, what it refuses, and that ``train`` refuses what is geometry only."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nnbox.cli import main
from nnbox.errors import PlanError
from nnbox.records.codec import parse_record
from nnbox.records.plan import Plan
from nnbox.stages import train as train_stage
from nnbox.stages.options import Until

TABLES = {"2018": "plans_2018_table1.json", "2019": "plans_2019.json", "2021": "plans_2021.json"}
KEYS = {"median_shape", "patch_size", "batch_size", "num_pool_per_axis", "spacing_mm", "dummy_2d_augmentation"}


def _geometry(**changes):
    return {
        "num_training": 2,
        "channels": ["CT"],
        "labels": ["liver", "cancer"],
        "median_relative_size_after_cropping": 1.0,
        "spacings_zyx_mm": [[2.0, 1.0, 1.0], [3.0, 1.0, 1.0]],
        "shapes_after_crop_zyx": [[40, 64, 64], [44, 72, 68]],
        **changes,
    }


@pytest.fixture
def fingerprints(reference):
    return reference / "msd_fingerprints.json"


@pytest.mark.parametrize("recipe", TABLES)
def test_the_printed_json_holds_the_documented_keys_and_the_published_values(fingerprints, reference, recipe, capsys):
    table = json.loads((reference / TABLES[recipe]).read_text())
    for task in ("Task05_Prostate", "Task06_Lung"):
        arguments = ["plan", "--fingerprint", str(fingerprints), "--task", task, "--recipe", recipe, "--json"]
        assert main(arguments) == 0
        printed = json.loads(capsys.readouterr().out)
        assert printed["trainable"] is False
        assert "geometry only" in printed["why_not_trainable"]
        planned = {item["name"]: item for item in printed["configurations"]}
        assert set(table[task]) <= set(planned)
        assert all(set(item) >= KEYS for item in planned.values())
        for name, row in table[task].items():
            for key, value in row.items():
                expected = pytest.approx(value, abs=1e-4) if key == "spacing_mm" else value
                assert planned[name][key] == expected, (task, name, key)


def test_the_object_of_one_task_alone_gives_the_same_plan(fingerprints, tmp_path, capsys):
    alone = tmp_path / "one.json"
    alone.write_text(json.dumps(json.loads(fingerprints.read_text())["Task02_Heart"]))
    assert main(["plan", "--fingerprint", str(alone), "--task", "Task02_Heart", "--json"]) == 0
    one = capsys.readouterr().out
    assert main(["plan", "--fingerprint", str(fingerprints), "--task", "Task02_Heart", "--json"]) == 0
    assert capsys.readouterr().out == one
    assert main(["plan", "--fingerprint", str(alone), "--json"]) == 0
    unnamed = json.loads(capsys.readouterr().out)
    assert unnamed["configurations"] == json.loads(one)["configurations"]


@pytest.mark.parametrize("form", ["--json", "--text", "--latex", None])
def test_every_form_is_printed_without_a_warning(tmp_path, form, capsys):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(_geometry()))
    assert main(["plan", "--fingerprint", str(path), *([form] if form else [])]) == 0
    printed = capsys.readouterr()
    assert "geometry only" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "choose one with --task: A, B"),
        (["--task", "C"], 2, "does not hold the task 'C'"),
        (["--task", "A", "--recipe", "2020"], 2, "choose one of 2018, 2019, 2021"),
        (["--task", "A", "--json", "--text"], 2, "exclude each other"),
        (["--task", "A", "--planning-memory", "-1"], 2, "positive number of GB"),
        (["--task", "A", "--planning-memory", "1e-12"], 4, "no network fits the planning memory"),
        (["--task", "B"], 3, "sizes must be at least 1 voxel"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(tmp_path, arguments, code, words, capsys):
    path = tmp_path / "two.json"
    path.write_text(json.dumps({"A": _geometry(), "B": _geometry(shapes_after_crop_zyx=[[0, 1, 1], [1, 1, 1]])}))
    assert main(["plan", "--fingerprint", str(path), *arguments]) == code
    said = capsys.readouterr().err
    assert words in " ".join(said.split())
    assert "Traceback" not in said


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", "null", '{"A": 1}'])
def test_a_file_that_is_no_fingerprint_is_refused_in_words(tmp_path, text, capsys):
    path = tmp_path / "broken.json"
    path.write_text(text)
    assert main(["plan", "--fingerprint", str(path)]) == 3
    assert "broken.json" in capsys.readouterr().err
    assert main(["plan", "--fingerprint", str(tmp_path / "absent.json")]) == 3
    assert "absent.json" in capsys.readouterr().err


def test_train_refuses_a_plan_from_geometry_alone_before_it_writes_one(tiny_options, listener, monkeypatch):
    whole = train_stage.plan_found

    def geometry_only(found, recipe, memory_gb):
        return whole(replace(found, fingerprint=replace(found.fingerprint, intensities=None)), recipe, memory_gb)

    monkeypatch.setattr(train_stage, "plan_found", geometry_only)
    with pytest.raises(PlanError, match="cannot be trained: geometry only"):
        train_stage.train(replace(tiny_options, until=Until.PLAN), listener)
    assert not (tiny_options.output / "plan.json").exists()


def test_train_takes_no_fingerprint_and_no_planning_only_recipe(fingerprints, tiny_source, tmp_path, capsys):
    assert main(["train", "--fingerprint", str(fingerprints), "--output", str(tmp_path / "a")]) == 2
    assert main(["train", "--input", str(tiny_source), "--output", str(tmp_path / "b"), "--recipe", "2021"]) == 2
    assert "expected one of 2018, 2019" in capsys.readouterr().err


def test_the_documented_example_is_planned_and_the_page_names_every_key(tmp_path, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "fingerprint-format.md").read_text(encoding="utf-8")
    example = json.loads(re.search(r"```json\n(.*?)```", page, flags=re.DOTALL)[1])
    path = tmp_path / "example.json"
    path.write_text(json.dumps(example))
    for recipe in TABLES:
        assert main(["plan", "--fingerprint", str(path), "--recipe", recipe, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert parse_record(printed, Plan, where="printed").task == next(iter(example))
    for key in (*_geometry(), *KEYS):
        assert f"`{key}`" in page
