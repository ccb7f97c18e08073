"""Every test that the page of promises names exists."""

from __future__ import annotations

import re
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent
_PAGE = (_TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists():
    named = re.findall(r"`([a-z_]+/test_\w+\.py)(?:::(\w+))?`", _PAGE)
    assert len(named) > 20
    for file, function in named:
        assert (_TESTS / file).is_file(), file
        assert not function or f"def {function}(" in (_TESTS / file).read_text(encoding="utf-8"), f"{file}::{function}"


def test_every_promise_names_a_test():
    rows = [line for line in _PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 15
    assert all(re.search(r"`[a-z_]+/test_\w+\.py", row.split("|")[3]) for row in rows)


def test_the_rows_of_bad_input_are_as_many_as_are_said():
    table = (_TESTS.parent / "docs" / "bad-input.md").read_text(encoding="utf-8")
    assert re.findall(r"in (\d+) rows", _PAGE) == re.findall(r"There are (\d+) rows", table)
