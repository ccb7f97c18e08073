"""The ledger is complete: every rule function has a row and a source, every named test exists, every switch is used."""

from __future__ import annotations

import ast
import dataclasses
import re
from functools import cache
from pathlib import Path

import pytest

from nnbox.recipes import RECIPE_2018, RECIPE_2019, Recipe

_ROOT = Path(__file__).resolve().parent.parent.parent
_PACKAGE = _ROOT / "nnbox"
_ROOM = _PACKAGE / "rules"
_LEDGER = (_ROOM / "README.md").read_text(encoding="utf-8")
_COLUMNS = ("Rule", "Source", "Function", "Test", "2018", "2019", "Release where silent", "Ours and why")


def _rows():
    """Every row of the rules' tables as a list of cells."""
    lines = [line for line in _LEDGER.split("## Not a rule")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if tuple(row) != _COLUMNS and set(row[0]) != {"-"}]


def _in_code(text):
    return re.findall(r"`([^`]+)`", text)


@cache
def _definitions(path):
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.setdefault(node.name, ast.get_docstring(node) or "")
    return found


def _public_functions():
    for path in sorted(_ROOM.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{path.stem}.{node.name}", ast.get_docstring(node) or ""


def _file_of(function):
    """`module.function` lies in the rules' room, `room.module.function` elsewhere."""
    *folders, _ = function.split(".")
    return (_ROOM if len(folders) == 1 else _PACKAGE).joinpath(*folders).with_suffix(".py")


def test_every_row_is_filled_in():
    assert len(_rows()) > 50
    for row in _rows():
        assert len(row) == len(_COLUMNS), row
        assert all(row), row
        assert re.search(r"2018 §|2019 §|release|own", row[1]), row
        assert _in_code(row[2]), row
        assert _in_code(row[3]), row


def test_every_public_function_of_the_room_has_a_row_or_is_listed_as_no_rule():
    as_rules = {name for row in _rows() for name in _in_code(row[2])}
    as_none = set(re.findall(r"^\| `([^`]+)`", _LEDGER.split("## Not a rule")[1], flags=re.MULTILINE))
    functions = {name for name, _ in _public_functions()}
    assert functions - as_rules - as_none == set()
    assert as_rules & as_none == set()
    assert as_none <= functions


def test_every_public_function_of_the_room_names_its_source():
    missing = [name for name, docstring in _public_functions() if "\nSource: " not in docstring]
    assert not missing


def test_every_function_in_the_ledger_exists():
    for name in {name for row in _rows() for name in _in_code(row[2])}:
        assert _file_of(name).is_file(), name
        assert name.split(".")[-1] in _definitions(_file_of(name)), name


def test_every_test_in_the_ledger_exists():
    for reference in {name for row in _rows() for name in _in_code(row[3])}:
        file, _, function = reference.partition("::")
        path = _ROOT / "tests" / file
        assert path.is_file(), reference
        assert not function or function in _definitions(path), reference


@cache
def _fields_read():
    """Names of recipe fields that the code reads from something called a recipe, outside the words about it."""
    read = set()
    for path in _PACKAGE.rglob("*.py"):
        if path.name in {"recipes.py", "paragraph.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name == "recipe":
                    read.add(node.attr)
    return read


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Recipe)])
def test_every_field_of_a_recipe_is_used(field):
    assert field in _fields_read()


def test_the_recipes_differ_where_the_documents_do():
    # RULES.md §9, without what the planning rules switch.
    different = {
        field.name
        for field in dataclasses.fields(Recipe)
        if getattr(RECIPE_2018, field.name) != getattr(RECIPE_2019, field.name)
    }
    assert different == {
        "name",
        "separate_axis_threshold",
        "label_resampling",
        "mask_ratio_inclusive",
        "mask_ratio_median",
        "mask_rule_for_ct",
        "weight_decay",
        "amsgrad",
        "rate_threshold",
        "stop_patience_epochs",
        "stop_threshold",
        "forced_samples",
        "slicewise_ratio",
        "slicewise_against_shortest",
        "postprocessing",
    }
