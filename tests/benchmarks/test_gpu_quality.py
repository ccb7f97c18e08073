"""Prepared cases survive being carried; the quality run trains and scores both systems, here with a few steps."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import export_prepared
import gpu_quality
import numpy as np
import pytest
from peer_network import RestatedStep, as_one_output
from step_plans import HIPPOCAMPUS, job, tiny, topology, write_cases

from nnbox.evaluation.scores import dice_of_case
from nnbox.records.codec import write_record
from nnbox.records.plan import Folds
from nnbox.training.store import store_paths


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A made-up run after preprocessing: plan, folds and four prepared cases."""
    folder = tmp_path_factory.mktemp("run")
    plan = tiny(HIPPOCAMPUS)
    write_cases(plan, folder, 4)
    (folder / "prepared").mkdir()
    (folder / "store").rename(folder / "prepared" / "3d_fullres")
    write_record(folder / "plan.json", job(plan, folder, device="cpu").plan)
    folds = Folds(validation=(("case_0", "case_1"), ("case_2", "case_3")), origin="test")
    write_record(folder / "folds.json", folds)
    return folder


@pytest.fixture(scope="module")
def archive(run):
    path = run / "prepared.zip"
    export_prepared.export(run, path, "3d_fullres")
    return path


def test_an_archive_gives_back_every_byte_of_the_store(run, archive, tmp_path):
    prepared = export_prepared.unpacked(archive, tmp_path)
    assert prepared.configuration == "3d_fullres"
    for case in ("case_0", "case_3"):
        for ours, theirs in zip(
            store_paths(prepared.store, case), store_paths(run / "prepared" / "3d_fullres", case), strict=True
        ):
            assert ours.read_bytes() == theirs.read_bytes()


def test_an_archive_that_is_too_large_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export_prepared, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="more than"):
        export_prepared.export(run, tmp_path / "a.zip", "3d_fullres")


def test_a_run_without_prepared_cases_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="What to do"):
        export_prepared.export(tmp_path, tmp_path / "a.zip", "3d_fullres")


@pytest.mark.parametrize("system", ["ours", "peer"])
def test_both_systems_are_trained_and_scored(system, archive, benchmarks, tmp_path):
    command = [sys.executable, benchmarks / "gpu_quality.py", "--system", system, "--prepared", archive]
    command += ["--device", "cpu", "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob(f"*-{system}.json")
    document = json.loads(path.read_text())
    assert [(unit["fold"], unit["seed"]) for unit in document["units"]] == [(0, 0), (0, 1)]
    assert all(0 <= value <= 1 for unit in document["units"] for value in unit["dice"])
    assert document["summary"]["seeds of fold 0"]["count"] == 2
    assert len(document["summary"]["seeds of fold 0"]["sd"]) == 2
    assert document["quick"]


def test_units_that_no_longer_fit_are_left_out_and_said_to_be(capsys):
    found = gpu_quality.run(None, "ours", [(0, 0)], ends_at=-1.0, keep=[].append)
    assert found == []
    assert "not measured" in capsys.readouterr().out


def test_dice_is_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    reference, predicted = rng.integers(0, 3, (2, 6, 6, 6))
    predicted[predicted == 2] = 0
    reference[reference == 2] = 0
    wanted = dice_of_case(reference, predicted, 2)
    assert gpu_quality.dice(reference == 1, predicted == 1) == [pytest.approx(wanted[0])]
    assert wanted[1] is None
    assert gpu_quality.dice(reference == 2, predicted == 2) == []


def test_the_spread_is_the_standard_deviation_over_seeds():
    assert gpu_quality.spread([[0.5, 0.2], [0.7, 0.2]]) == {
        "count": 2,
        "mean": [0.6, 0.2],
        "sd": [pytest.approx(0.14142, abs=1e-5), 0.0],
    }
    assert gpu_quality.spread([[0.5]])["sd"] == [None]


def test_a_supervised_network_predicts_with_its_finest_output():
    import torch

    plan = tiny(HIPPOCAMPUS)
    step = RestatedStep(topology(plan), "cpu", batch_dice=False, deep=True, compiled=False)
    image = torch.rand((1, 1, *plan.patch))
    with torch.no_grad():
        assert torch.equal(as_one_output(step.network, topology(plan))(image), step.network(image)[0])


def test_archives_are_deflated(archive):
    with zipfile.ZipFile(archive) as stream:
        assert all(item.compress_type == zipfile.ZIP_DEFLATED for item in stream.infolist())
