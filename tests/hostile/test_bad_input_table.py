"""Every row of docs/bad-input.md: the program is run on it, and says what the table promises."""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from confined import MEMORY_BYTES, Outcome, run_confined, snapshot
from defect_row import Row
from defects import ROWS
from render import PAGE, render

# What a refused `train` or `predict` leaves in its output folder: that it ran, what it said, and locks let go.
NOTES = {"out", "out/.lock", "out/.writers", "out/.presence.json", "out/log.jsonl"}


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    before: dict[str, str]
    after: dict[str, str]


def _carry_out(row: Row, place: Path, model: Path | None) -> Result:
    if model is not None:
        (place / "model").symlink_to(model)
    row.make(place)
    before = snapshot(place)
    outcome = run_confined(row.command.split(" "), place)
    after = {name: state for name, state in snapshot(place).items() if name not in {"printed.txt", "tmp"}}
    return Result(outcome, dict(before), after)


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """The outcome of each row that was asked for, two at a time."""
    from models import write_model

    wanted = [
        item.callspec.params["row"] for item in request.session.items if "row" in getattr(item, "fixturenames", ())
    ]
    model = None
    if any(row.model for row in wanted):
        model = write_model(tmp_path_factory.mktemp("model"))
    pending: dict[Row, Future[Result]] = {}
    with ThreadPoolExecutor(2) as pool:
        for number, row in enumerate(wanted):
            place = tmp_path_factory.mktemp(f"row{number}", numbered=False)
            pending[row] = pool.submit(_carry_out, row, place, model if row.model else None)
        yield lambda row: pending[row].result()


def _name(row: Row) -> str:
    return re.sub(r"[^\w.]+", "-", f"{row.defect} {row.layout} {row.command.split()[0]}").strip("-")


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_bad_input_is_told_as_the_table_says(row, results):
    result = results(row)
    outcome = result.outcome
    assert not outcome.timed_out, outcome.text
    assert outcome.code == row.code, outcome.text
    missing = [words for words in row.words if words not in outcome.text]
    assert not missing, f"{missing} is not in\n{outcome.text}"
    assert "Traceback" not in outcome.text, outcome.text
    assert outcome.peak_bytes < MEMORY_BYTES
    changed = {name for name, state in result.before.items() if result.after.get(name) != state}
    assert not changed
    written = set(result.after) - set(result.before)
    if row.code != 0:
        strays = {name for name in written if name not in NOTES and not name.startswith("out/claims")}
        assert not strays, outcome.text
        assert "What to do" in outcome.text, outcome.text
    else:
        assert all(name.split("/")[0] == "out" for name in written)


def test_no_row_is_there_twice():
    names = [_name(row) for row in ROWS]
    assert len(set(names)) == len(names)


def test_the_page_is_what_the_rows_say():
    assert PAGE.read_text() == render(), "write it again with make bad-input"
