"""What waits or measures uses the monotonic clock; the time of day is shown, and jumps without harm."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import nnbox

_PACKAGE = Path(nnbox.__file__).parent
# Where the time of day is read, and what for. A new place is a decision: may what it does depend on a clock that jumps?
_SHOWN = {
    "console.py": "when a run will be over",
    "stages/budget_clock.py": "how long earlier starts took, which only the log knows",
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
