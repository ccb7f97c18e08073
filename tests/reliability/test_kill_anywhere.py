"""A run killed at any moment, and started again by the same command, ends as if nothing had happened."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_runs import Run, artefacts, train_words

from nnbox.faults import VARIABLE

# Where one run, resumed after each, is killed: all over its stages, in their order. Subjects are patterns; a count is
# of what a process of the resumed run does. "alone": only the main process is killed, its workers are left to see it.
# Of the networks only those are named of which one needs the other: which is begun first else is the schedule's affair.
STOPS = (
    "reading@*_002:1",
    "told@intake:1:alone",
    "before rename@*/dataset.json:1",
    "after rename@*/fingerprint.json:1",
    "before rename@*/plan.json:1",
    "after rename@*/folds.json:1",
    "before rename@*/prepared/3d_fullres/*.labels.npy:1",
    "after rename@*/prepared/2d/*.json:1",
    "after rename@*/receipts/preprocess/2d/*.json:1",
    "told@prepared:1:alone",
    "told@preprocess:1",
    "training step@3d_lowres/fold_0:3",
    "after rename@*/3d_lowres/fold_0/checkpoint-000002-000000.safetensors:1",
    "before rename@*/3d_lowres/fold_0/weights.safetensors:1",
    "after rename@*/3d_lowres/fold_0/result.json:1",
    "after rename@*/receipts/training/3d_lowres/fold_0.json:1",
    "before rename@*/validation/3d_lowres/*.npz:1",
    "after rename@*/validation/3d_lowres/*.npz:1",
    "training step@3d_lowres/fold_1:1:alone",
    "after rename@*/prepared/3d_cascade_previous/*.npy:1",
    "before rename@*/3d_cascade/fold_0/checkpoint.json:1",
    "before rename@*/validation/scores/2d/*.json:1",
    "after rename@*/receipts/scores/3d_cascade/*.json:1:alone",
    "before rename@*/crossvalidation.json:1",
    "after rename@*/selection.json:1",
    "after rename@*/model:1",
    "between two names@*/model:1",
    "before rename@*/model.tar.gz:1",
    "after rename@*/receipts/model.json:1",
    "before rename@*/predictions/*:1",
    "after rename@*/predictions/*:2",
    "before rename@*/submission/*.zip:1",
    "after rename@*/submission/*.zip:1",
    "before rename@*/report.html:1",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A run that was killed again and again, and an uninterrupted one.

    Attributes:
        out, whole: their output folders.
        killed: how each start ended, by stop.
        redone: per stop the receipts that were there before and were written again.
        ending: how the last start ended.
    """

    out: Path
    whole: Path
    killed: dict[str, Run]
    redone: dict[str, list[str]]
    ending: Run


@pytest.fixture(scope="module")
def lineage(runs, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lineage")
    out, whole = folder / "out", folder / "whole"
    assert runs(*train_words(tiny_data, whole)).code == 0
    killed, redone, before = {}, {}, {}
    for stop in STOPS:
        killed[stop] = runs(*train_words(tiny_data, out), **{VARIABLE: stop})
        after = receipts(out)
        redone[stop] = [name for name, written in before.items() if after.get(name) != written]
        before = after
    grow_old(out)
    ending = runs(*train_words(tiny_data, out))
    redone["end"] = [name for name, written in before.items() if receipts(out).get(name) != written]
    return Lineage(out=out, whole=whole, killed=killed, redone=redone, ending=ending)


def receipts(out: Path) -> dict[str, int]:
    """Return when each receipt was written; that a training was begun is said anew by whoever goes on with it."""
    found = (path for path in (out / "receipts").rglob("*.json") if not path.name.startswith("."))
    names = {path.relative_to(out / "receipts").as_posix(): path.stat().st_mtime_ns for path in found}
    return {name: written for name, written in names.items() if not name.startswith("started/")}


def grow_old(out: Path) -> None:
    """Let the temporary files that were left behind be an hour old: younger ones might be somebody's."""
    for path in out.rglob(".*"):
        for inside in (path, *(path.rglob("*") if path.is_dir() else ())):
            if inside.stat().st_nlink == 1 or inside.is_dir():
                os.utime(inside, (0, 0))


@pytest.mark.parametrize("stop", STOPS)
def test_a_run_is_killed_there_and_no_process_outlives_it(lineage, stop):
    run = lineage.killed[stop]
    assert run.code == -signal.SIGKILL, run.said
    assert run.left == ()


@pytest.mark.parametrize("stop", [*STOPS, "end"])
def test_nothing_that_was_finished_is_done_again(lineage, stop):
    assert lineage.redone[stop] == []


def test_the_last_start_finishes_what_is_left(lineage):
    assert lineage.ending.code == 0, lineage.ending.said
    assert "was killed" in lineage.ending.said
    assert "passes every check" in lineage.ending.said


def test_every_artefact_is_that_of_an_uninterrupted_run(lineage):
    found, expected = artefacts(lineage.out), artefacts(lineage.whole)
    assert sorted(found) == sorted(expected)
    assert {name for name in found if found[name] != expected[name]} == set()
    kinds = ("weights.safetensors", "selection.json", "model.tar.gz", ".zip", "predictions/smoke_005.nii.gz")
    for kind in kinds:
        assert any(name.endswith(kind) for name in expected), kind


def test_the_curves_are_those_of_an_uninterrupted_run(lineage):
    tables = sorted(lineage.whole.rglob("progress.csv"))
    assert len(tables) == 6
    for table in tables:
        assert curve(lineage.out / table.relative_to(lineage.whole)) == curve(table)


def curve(table: Path) -> list[dict[str, str]]:
    with table.open() as stream:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def test_a_finished_run_started_again_changes_nothing(lineage, runs, tiny_data):
    before, written = artefacts(lineage.whole), receipts(lineage.whole)
    assert runs(*train_words(tiny_data, lineage.whole)).code == 0
    assert (artefacts(lineage.whole), receipts(lineage.whole)) == (before, written)


PREDICT_STOPS = ("before rename@*/predictions/*:1", "told@predicted:1:alone", "after rename@*.zip:1")


def test_a_killed_predict_goes_on_where_it_was(lineage, runs, tiny_data, tmp_path):
    model = lineage.whole / "model.tar.gz"
    words = ("predict", "--input", tiny_data, "--output", tmp_path, "--model", model, "--device", "cpu")
    before = {}
    for stop in PREDICT_STOPS:
        run = runs(*words, **{VARIABLE: stop})
        assert (run.code, run.left) == (-signal.SIGKILL, ()), run.said
        assert all(receipts(tmp_path)[name] == written for name, written in before.items())
        before = receipts(tmp_path)
    grow_old(tmp_path)
    assert runs(*words).code == 0
    for part in ("predictions", "submission"):
        assert artefacts(tmp_path / part) == artefacts(lineage.whole / part)
    assert not list(tmp_path.rglob(".model-*"))
    assert not list(tmp_path.rglob(".part-*"))


def test_a_restart_that_is_killed_is_finished_by_the_next(runs, tiny_data, lineage, tmp_path):
    """Nothing of the run that was moved aside is lost, and what comes then is as if it had never been."""
    out = tmp_path / "out"
    shutil.copytree(lineage.whole, out)
    words = (*train_words(tiny_data, out), "--until", "plan")
    run = runs(*words, "--restart", **{VARIABLE: "moved aside@*:3"})
    assert run.code == -signal.SIGKILL, run.said
    assert runs(*words, "--restart").code == 0
    kept = {path.relative_to(folder) for folder in (out / "previous-runs").iterdir() for path in folder.rglob("*")}
    wanted = {path.relative_to(lineage.whole) for path in lineage.whole.rglob("*")}
    staying = {".lock", ".writers", ".presence.json", "claims"}
    assert {path for path in wanted - kept if path.parts[0] not in staying} == set()
    assert not (out / "training").exists()
