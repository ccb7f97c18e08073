"""Several runs on one output folder: each trains what no other does, and the last one concludes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from nnbox.errors import ResourceError
from nnbox.files import digest_file
from nnbox.records.codec import read_record
from nnbox.records.results import Selection
from nnbox.stages.claims import Claims
from nnbox.stages.options import Until
from nnbox.stages.sharing import depth_of
from nnbox.stages.standing import presences_near
from nnbox.stages.status import read_status
from nnbox.stages.train import train
from nnbox.stages.workspace import Workspace

_RESULTS = ("plan.json", "folds.json", "training/**/*.safetensors", "training/**/result.json", "validation/**/*")
_RESULTS += ("crossvalidation.json", "selection.json", "model/**/*", "model.tar.gz", "predictions/*", "submission/*")


def digests(folder):
    files = {path for pattern in _RESULTS for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): digest_file(path) for path in sorted(files)}


def command(options, output, *words):
    fixed = ["--input", str(options.input), "--output", str(output), "--configurations", "3d_fullres", "--epochs", "2"]
    fixed += ["--iterations", "2", "--device", "cpu", "--planning-memory", "0.003", "--workers", "0"]
    fixed += ["--mirror-axes", "x"]  # as the fixture's options
    return [sys.executable, "-m", "nnbox", "train", *fixed, *words]


def events(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def others(tmp_path):
    """Another run's claims in the output folder of ``tiny_options``."""
    claims = Claims(Workspace(tmp_path / "out").claims)
    yield claims
    claims.close()


@pytest.fixture
def start():
    """Call with the words of a command to start it; what still runs at the end of the test is ended."""
    started = []

    def begin(words):
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_with_a_fold_each_leave_the_files_of_one(tiny_options, tmp_path, listener, start):
    shared = tmp_path / "shared"
    started = [start(command(tiny_options, shared, "--folds", fold)) for fold in ("0", "1")]
    train(dataclasses.replace(tiny_options, folds=(0, 1)), listener)
    ended = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    assert digests(shared) == digests(tiny_options.output)
    assert read_record(shared / "selection.json", Selection).folds == {"3d_fullres": (0, 1)}
    log = events(shared)
    assert sorted(event["facts"]["fold"] for event in log if event["event"] == "trained") == [0, 1]
    endings = [event["event"] for event in log if event["event"] in {"finished", "part_finished"}]
    assert endings in (["part_finished", "finished"], ["finished", "finished"])
    assert len({event["run"] for event in log}) == 2
    assert read_status(Workspace(shared)).state == "finished"


def test_a_second_run_takes_other_networks_and_the_conclusion_is_left_to_those_that_go_as_far(
    tiny_options, others, listener
):
    held = others.attempt("training/3d_fullres/fold_0")
    first = dataclasses.replace(tiny_options, folds=(0, 1), until=Until.TRAIN)
    train(first, listener)
    assert "fold 1: trained" in listener.text
    assert "fold 0: trained" not in listener.text
    held.release()
    work = _work_of(tiny_options.output, first)
    with others.attempt("members/9", note=f"{depth_of(None)} {work}"):
        (outcome,) = train(dataclasses.replace(first, folds=(1,), until=None), listener)
    # The other one is gone when the run comes to its end, so that this run does it after all.
    assert outcome.selection is not None


def _work_of(output, options):
    """What a run says of its work, read while it trains."""
    found = []

    def hear(severity, sentence):
        found.extend(holder.note.split()[1] for holder in Claims(output / "claims").held_by_others("members"))

    train(options, hear)
    return found[0]


def test_who_ends_first_leaves_the_end_to_the_others_and_says_so(tiny_options, others, listener):
    once = dataclasses.replace(tiny_options, folds=(0,), until=Until.TRAIN)
    work = _work_of(tiny_options.output, once)
    with (
        others.attempt("members/9", note=f"{depth_of(None)} {work}"),
        others.attempt("submitters/9", note=f"{depth_of(None)} "),
    ):
        (outcome,) = train(dataclasses.replace(once, until=None), listener)
    assert outcome.left is not None
    assert "this run's part is done" in listener.text
    assert not (tiny_options.output / "selection.json").exists()
    assert read_status(Workspace(tiny_options.output)).state == "unfinished"


def test_a_network_that_another_run_trains_is_not_trained_twice_and_its_holder_is_named(tiny_options, others, listener):
    with (
        others.attempt("training/3d_fullres/fold_0"),
        pytest.raises(ResourceError, match=r"3d_fullres fold 0: process \d+ on"),
    ):
        train(dataclasses.replace(tiny_options, folds=(0,)), listener)


def test_a_run_with_other_options_is_refused_before_it_changes_anything(tiny_options, others, listener):
    with (
        others.attempt("members/9", note=f"{depth_of(None)} {'0' * 64}"),
        pytest.raises(ResourceError, match="trains here with other data or options"),
    ):
        train(tiny_options, listener)
    assert not (tiny_options.output / "plan.json").exists()


def test_restart_does_not_move_away_what_another_run_works_on(tiny_options, others, listener):
    (tiny_options.output / "plan.json").write_text("{}") if tiny_options.output.is_dir() else None
    with others.attempt("runs/2"), pytest.raises(ResourceError, match="--restart would move away"):
        train(dataclasses.replace(tiny_options, restart=True), listener)
    train(dataclasses.replace(tiny_options, restart=True, until=Until.INTAKE), listener)


def test_runs_that_share_a_folder_each_leave_word(tiny_options, others, listener):
    with others.attempt("runs/1"):
        found = []

        def hear(severity, sentence):
            found.extend(path.name for path in tiny_options.output.glob(".presence*"))

        train(dataclasses.replace(tiny_options, until=Until.INTAKE), hear)
    assert set(found) == {".presence-2.json"}
    assert [item.ended for item in presences_near(Workspace(tiny_options.output))] == ["finished"]
