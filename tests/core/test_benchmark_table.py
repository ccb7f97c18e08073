"""The table of measurements says what the results say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load_table():
    spec = importlib.util.spec_from_file_location("benchmark_table", _BENCHMARKS / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_holds_the_newest_measurements():
    table = load_table()
    text = table.README.read_text()
    assert table.with_table(text, table.markdown(table.newest())) == text


def test_a_figure_below_its_target_is_called_so():
    table = load_table()
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
