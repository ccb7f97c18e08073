"""What waits or measures uses the monotonic clock; the time of day is shown, and jumps without harm."""

from __future__ import annotations

import ast
import dataclasses
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tiny_runs import artefacts, short_words

import nnbox
from nnbox.stages.presence import NAME, Presence, last_presence
from nnbox.stages.standing import is_alive
from nnbox.stages.status import read_status
from nnbox.stages.workspace import Workspace

_PACKAGE = Path(nnbox.__file__).parent
# Where the time of day is read, and what for. A new place is a decision: may what it does depend on a clock that jumps?
_SHOWN = {
    "console.py": "when a run will be over",
    "stages/budget_clock.py": "when a run is to end",
    "stages/claims.py": "since when something is claimed",
    "stages/inspect.py": "when the page was made",
    "stages/journal.py": "when an event happened",
    "stages/presence.py": "when a run was last seen",
    "stages/report.py": "when the page was made",
    "stages/restart.py": "how the folder of an earlier run is called",
    "stages/standing.py": "whether status calls a run living",
    "stages/status.py": "when a run will be over",
}
_READERS = {"time.time", "time.time_ns", "time.strftime", "time.localtime", "time.gmtime", "time.ctime"}
_READERS |= {"datetime.now", "datetime.today", "datetime.utcnow", "date.today"}


def reads_the_time_of_day(path):
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = {ast.unparse(call) for call in calls}
    return bool(names & _READERS)


def test_the_time_of_day_is_read_where_it_is_shown_and_nowhere_else():
    found = {path.relative_to(_PACKAGE).as_posix() for path in _PACKAGE.rglob("*.py") if reads_the_time_of_day(path)}
    assert found == set(_SHOWN)


@pytest.mark.parametrize("text", ["import time\ntime.time()", "from datetime import datetime\ndatetime.now()"])
def test_a_new_place_would_be_found(tmp_path, text):
    (tmp_path / "module.py").write_text(text)
    assert reads_the_time_of_day(tmp_path / "module.py")


def test_a_run_whose_time_of_day_jumps_leaves_the_files_of_one_whose_does_not(runs, tiny_data, tmp_path):
    steady, jumping = tmp_path / "steady", tmp_path / "jumping"
    assert runs(*short_words(tiny_data, steady)).code == 0
    run = runs(*short_words(tiny_data, jumping), jumping=True)
    assert run.code == 0, run.said
    assert run.left == ()
    assert artefacts(jumping) == artefacts(steady)
    assert last_presence(jumping / NAME).ended == "finished"
    assert read_status(Workspace(jumping)).state == "finished"
    days = {event["time"][:13] for event in map(json.loads, (jumping / "log.jsonl").read_text().splitlines())}
    assert len(days) > 2, "the clock did jump"


def test_after_a_jump_of_the_clock_a_run_goes_on_where_it_was(runs, tiny_data, tmp_path):
    words = (*short_words(tiny_data, tmp_path), "--until", "preprocess")
    assert runs(*words, jumping=True).code == 0
    before = artefacts(tmp_path)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "prepared").rglob("*.npy")}
    assert runs(*words).code == 0
    assert artefacts(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.parametrize(("hours", "alive"), [(-3, False), (0, True), (3, False)])
def test_a_run_last_seen_hours_ago_or_hours_ahead_is_not_called_living(hours, alive):
    """The second is a killed run after the clock was set back: it must not live on for three hours."""
    beat = (datetime.now().astimezone() + timedelta(hours=hours)).isoformat(timespec="seconds")
    seen = Presence(
        host="host",
        process=1,
        began=beat,
        beat=beat,
        doing="news",
        memory_bytes=None,
        memory_limit_bytes=None,
        ended=None,
    )
    assert is_alive(seen) is alive
    assert not is_alive(dataclasses.replace(seen, ended="finished"))
