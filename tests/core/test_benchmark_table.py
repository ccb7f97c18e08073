"""The table of measurements says what the results say."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the folder, which is no package: its modules find each other as a script's do."""
    monkeypatch.syspath_prepend(_BENCHMARKS)
    before = {path.stem: sys.modules.get(path.stem) for path in _BENCHMARKS.glob("*.py")}
    yield importlib.import_module
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def test_the_readme_holds_the_newest_measurements(load):
    table = load("table")
    text = table.README.read_text()
    assert table.with_table(text, table.rendered()) == text


def test_a_figure_below_its_target_is_called_so(load):
    table = load("table")
    entry = {
        "name": "a/b",
        "job": "work",
        "reference": "theirs",
        "reference_median": 3.0,
        "ours_median": 1.0,
        "ratio": 3.0,
        "target": 4,
        "agreement": "identical",
        "figures": {"MB": 2.0},
        "remark": "tried more",
        "measured": "2026-01-02T03:04:05",
    }
    assert "≥ 4x (not met)" in table.markdown([entry])
    assert "not met" in table.line(entry)
    assert "MB 2; tried more" in table.markdown([entry])
    assert "≥ 3x (met)" in table.markdown([{**entry, "target": 3}])


def test_the_readme_holds_the_last_soak(load):
    soak = load("soak")
    text = load("table").README.read_text()
    assert soak.with_table(text, soak.markdown(soak.stored())) == text


def test_what_has_not_run_is_not_measured(load):
    table = load("soak").markdown({})
    assert table.count("not measured") == len(load("soak").CHECKS)


def test_a_total_is_stated_for_all_rows_only_once_it_was_measured(load, monkeypatch, tmp_path):
    table = load("table")
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    assert table.totals().count("not measured") == 2
    table.record_total("make bench", 312.0, device="cpu")
    assert "`make bench`: 5.2 minutes" in table.totals()
    assert "`make bench-peer`: not measured" in table.totals()


def test_a_course_that_grows_is_told_from_a_flat_one(load):
    course, flat_or_not = load("course"), load("soak_long")._flat
    looks = [course.Look(float(at), 1_000_000 + 500 * at, 1_100_000, 10 + at // 25) for at in range(100)]
    growing = course.Course(exit_code=0, seconds=100.0, looks=tuple(looks), output="")
    assert growing.growth_bytes == pytest.approx(500 * 51, rel=0.05)
    assert growing.growth_files == 2
    assert growing.peak_bytes == 1_100_000
    flat = course.Course(
        exit_code=0,
        seconds=100.0,
        looks=tuple(course.Look(float(at), 1_000_000, 0, 10) for at in range(100)),
        output="",
    )
    assert flat.growth_bytes == pytest.approx(0, abs=1e-3)
    assert flat_or_not(flat).holds
    assert flat_or_not(flat).figures["usual number of open files"] == 10
    assert not flat_or_not(growing).holds


def test_a_command_that_fails_at_once_is_told_by_the_soak(load):
    course = load("course").Course(exit_code=5, seconds=0.1, looks=(), output="error: no room")
    seen = load("soak_long")._flat(course)
    assert not seen.holds
    assert seen.failed is course


def test_a_command_is_watched_with_its_children(load, tmp_path):
    child = "import time; held = bytearray(2**26); time.sleep(1)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); sys.exit(3)"
    command = [sys.executable, "-c", script]
    seen = load("course").watch(command, tmp_path / "log", os.environ, every_seconds=0.05)
    assert seen.exit_code == 3
    assert seen.peak_bytes > 2**26


def test_the_first_read_of_a_folder_is_noticed(load, tmp_path):
    (tmp_path / "image").write_text("voxels")
    command = ["sh", "-c", f"ls {tmp_path}; cat {tmp_path / 'image'}; sleep 60"]
    assert load("first_read").seconds_to_first_read(command, tmp_path, os.environ) < 60
    with pytest.raises(RuntimeError, match="read nothing"):
        load("first_read").seconds_to_first_read(["ls", tmp_path], tmp_path, os.environ)
