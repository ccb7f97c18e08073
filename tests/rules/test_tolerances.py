"""The tolerance of the surface Dice, by the task's name or its spacing."""

from __future__ import annotations

import pytest

from nnbox.rules.tolerances import read_tolerances, surface_tolerance_mm


@pytest.fixture(scope="module")
def unknown(make_fingerprint):
    return make_fingerprint([(10, 20, 20)] * 3, [(2.0, 1.0, 1.5), (3.0, 1.0, 1.5), (9.0, 1.0, 1.5)])


@pytest.mark.parametrize(
    ("task", "tolerance_mm"),
    [
        ("Task01_BrainTumour", 5),
        ("Task02_Heart", 4),
        ("Task03_Liver", 7),
        ("Task04_Hippocampus", 1),
        ("Task05_Prostate", 4),
        ("Task06_Lung", 2),
        ("Task07_Pancreas", 5),
        ("Task08_HepaticVessel", 3),
        ("Task09_Spleen", 3),
        ("Task10_Colon", 4),
        ("hippocampus", 1),
        ("Dataset004_Hippocampus", 1),
    ],
)
def test_decathlon_tasks_are_known_by_name(unknown, task, tolerance_mm):
    found, origin = surface_tolerance_mm(task, unknown)
    assert found == tolerance_mm
    assert "Decathlon" in origin


@pytest.mark.parametrize("task", ["Task11_SarcomaCT", "Task99_Heartbeat", "Task98_Lungfish", "data", "input"])
def test_any_other_task_takes_its_largest_median_spacing_and_says_so(unknown, task):
    found, origin = surface_tolerance_mm(task, unknown)
    assert found == 3.0
    assert origin == f"{task} is no known Decathlon task: its largest median spacing, 3 mm, is the tolerance"


def test_the_thickness_of_a_2d_image_does_not_count(make_fingerprint):
    flat = make_fingerprint((1, 20, 20), (1.0, 0.5, 0.25), dimension=2)
    assert surface_tolerance_mm("photos", flat)[0] == 0.5


def test_the_table_holds_the_ten_tasks():
    assert len(read_tolerances()) == 10
