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
    yield importlib.import_module
    for name in {path.stem for path in _BENCHMARKS.glob("*.py")}:
        sys.modules.pop(name, None)


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
    course = load("course")
    looks = [course.Look(float(second), 1_000_000 + 500 * second, 10 + second // 60) for second in range(100)]
    growing = course.Course(0, 100.0, tuple(looks))
    assert growing.growth_bytes == pytest.approx(500 * 75)
    assert growing.files == (10, 11)
    flat = course.Course(0, 100.0, tuple(course.Look(look.seconds, 1_000_000, 10) for look in looks))
    assert flat.growth_bytes == pytest.approx(0, abs=1e-3)
    figures, is_kept = load("soak")._flat(flat)
    assert is_kept
    assert figures["open files, second half"] == 10
    assert not load("soak")._flat(growing)[1]


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
