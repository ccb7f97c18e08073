"""Networks trained side by side and killed, one or all, end as those that were trained one after the other."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_runs import Run, artefacts, train_words

from nnbox.errors import ResourceError
from nnbox.faults import VARIABLE

# In this order. First the run is killed, and its networks' processes are left to see it: when it claims the second
# network, the first one's process having just begun; and when one has told how long its steps take.
RUN_KILLED = ("after rename@*/claims/training/2d/fold_1.json:1:alone", "told@step_time:1:alone")
# Then one network's process is killed; the run tells it, has the other one save where it stands, and ends.
NETWORK_KILLED = ("training step@2d/fold_0:3", "before rename@*/receipts/validation/2d/*.json:1")
_LASTING = ("training/", "validation/", "prepared/", "receipts/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A run that was killed again and again, and an uninterrupted one that trained one network after the other."""

    out: Path
    whole: Path
    killed: dict[str, Run]
    ending: Run


@pytest.fixture(scope="module")
def lineage(runs, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    out, whole = folder / "out", folder / "whole"
    assert runs(*words(tiny_data, whole, 1)).code == 0
    beside = words(tiny_data, out, 2)
    killed = {stop: runs(*beside, **{VARIABLE: stop}) for stop in (*RUN_KILLED, *NETWORK_KILLED)}
    return Lineage(out=out, whole=whole, killed=killed, ending=runs(*beside))


def words(data, output, parallel):
    """Return the command of two networks whose steps go on for a while after they were measured."""
    found = list(train_words(data, output, "--until", "train", "--parallel", parallel))
    for option, value in (("--configurations", "2d"), ("--iterations", 30), ("--workers", 0)):
        found[found.index(option) + 1] = value
    return found


@pytest.mark.parametrize("stop", RUN_KILLED)
def test_no_process_outlives_a_run_that_is_killed_there(lineage, stop):
    run = lineage.killed[stop]
    assert run.code == -signal.SIGKILL, run.said
    assert run.left == ()


@pytest.mark.parametrize("stop", NETWORK_KILLED)
def test_a_run_whose_network_is_killed_there_names_it_and_ends_with_5(lineage, stop):
    run = lineage.killed[stop]
    assert run.code == ResourceError.exit_code, run.said
    for word in ("the process that trained 2d fold", "was killed by SIGKILL", "What to do"):
        assert word in run.said
    assert "Traceback" not in run.said
    assert run.left == ()


def test_every_file_is_that_of_networks_trained_one_after_the_other_without_interruption(lineage):
    assert lineage.ending.code == 0, lineage.ending.said
    found, expected = lasting(lineage.out), lasting(lineage.whole)
    assert sorted(found) == sorted(expected)
    assert {name for name in found if found[name] != expected[name]} == set()
    assert sum(name.endswith("weights.safetensors") for name in expected) == 2
    assert sum(name.endswith(".npz") for name in expected) == 4


def lasting(out):
    return {name: digest for name, digest in artefacts(out).items() if name.startswith(_LASTING)}


def test_no_network_that_was_finished_is_trained_again(lineage):
    events = [json.loads(line) for line in (lineage.out / "log.jsonl").read_text().splitlines()]
    trained = [event["sentence"].split(":")[0] for event in events if event["event"] == "trained"]
    # A network may be told to end between its receipt and this word.
    assert len(trained) == len(set(trained))
    assert set(trained) <= {"2d fold 0", "2d fold 1"}
