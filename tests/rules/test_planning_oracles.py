"""Plans compared with published and independently computed numbers, cell by cell."""

from __future__ import annotations

import json

import pytest

from nnbox.records.dataset import Choices
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.planning import make_plan

TASKS = (
    "Task01_BrainTumour",
    "Task02_Heart",
    "Task03_Liver",
    "Task04_Hippocampus",
    "Task05_Prostate",
    "Task06_Lung",
    "Task07_Pancreas",
)
TABLES = (("2018", "plans_2018_table1.json", 72), ("2019", "plans_2019.json", 88), ("2021", "plans_2021.json", 88))


@pytest.fixture(scope="module")
def fingerprints(reference):
    document = json.loads((reference / "msd_fingerprints.json").read_text())
    return {task: fingerprint_from_json(document, task=task, where="msd_fingerprints.json") for task in TASKS}


@pytest.mark.parametrize(("recipe", "table", "cells"), TABLES)
def test_every_cell_of_the_reference_is_reproduced(reference, fingerprints, count_oracle_cells, recipe, table, cells):
    expected = json.loads((reference / table).read_text())
    assert set(expected) == set(TASKS)
    compared, wrong = 0, []
    for task, configurations in expected.items():
        plan = make_plan(fingerprints[task], recipe=recipe, choices=Choices())
        planned = {configuration.name: configuration for configuration in plan.configurations}
        assert set(planned) - {"3d_cascade"} == set(configurations), task
        assert ("3d_cascade" in planned) == ("3d_lowres" in configurations), task
        for name, values in configurations.items():
            for key, value in values.items():
                found = _as_json(getattr(planned[name], key))
                compared += 1
                if found != (pytest.approx(value, abs=1e-4) if key == "spacing_mm" else value):
                    wrong.append(f"{task} {name} {key}: expected {value}, planned {found}")
    assert not wrong, "\n".join(wrong)
    assert compared == cells
    count_oracle_cells(compared)


def test_a_reference_fingerprint_gives_a_plan_that_must_not_be_trained(fingerprints):
    plan = make_plan(fingerprints["Task04_Hippocampus"], recipe="2019", choices=Choices())
    assert not plan.trainable
    assert "geometry only" in plan.why_not_trainable


def test_the_2021_rules_are_for_planning_only(fingerprints):
    plan = make_plan(fingerprints["Task04_Hippocampus"], recipe="2021", choices=Choices())
    assert not plan.trainable
    assert "planning only" in plan.why_not_trainable


def _as_json(value):
    return list(value) if isinstance(value, tuple) else value
