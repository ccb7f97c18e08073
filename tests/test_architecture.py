"""The house rules that a reader relies on, checked on the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = _ROOT / "nnbox"

# Imports only go down: a room may import rooms of a lower number, and itself. Equal numbers do not import each other.
_FLOORS = {
    "errors": 0,
    "faults": 0,
    "__init__": 0,
    "files": 1,
    "interruption": 1,
    "limits": 1,
    "randomness": 1,
    "threads": 1,
    "version": 1,
    "geometry": 2,
    "processes": 2,
    "records": 3,
    "supervision": 3,
    "recipes": 4,
    "rules": 5,
    "imaging": 6,
    "network": 6,
    "evaluation": 6,
    "layouts": 6,
    "training": 7,
    "inference": 7,
    "intake": 7,
    "synthesize": 7,
    "submission": 8,
    "report": 8,
    "stages": 9,
    "console": 10,
    "verbs": 11,
    "looking": 11,
    "cli": 12,
    "__main__": 13,
}
_DOORS = {
    "SimpleITK": {"imaging/itk.py"},
    "batchgenerators": {"training/apply.py"},
    "cc3d": {"imaging/components.py"},
    "jinja2": {"report/render.py"},
    "matplotlib": {"report/figures.py", "report/charts.py", "report/topology.py"},
    "isal": {"imaging/unpack.py"},
    "rich": {"console.py"},
    "threadpoolctl": {"threads.py"},
    "triton": {
        "network/joining_kernels.py",
        "network/kernels.py",
        "network/stem_kernels.py",
        "training/loss_kernels.py",
        "training/mirror_kernels.py",
        "training/reading_kernels.py",
    },
    "typer": {"cli/__init__.py", "cli/commands.py", "cli/looking.py", "cli/options.py", "cli/using.py"},
}
_TORCH_ROOMS = {"network", "training", "inference"}


def _modules() -> list[Path]:
    return sorted(_PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(_PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room they come from"
            found.append(node.module or "")
            found.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_imports_only_go_down():
    wrong = []
    for path in _modules():
        room = _room(path)
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] != "nnbox" or len(parts) < 2 or parts[1] not in _FLOORS:
                continue
            if parts[1] != room and _FLOORS[parts[1]] >= _FLOORS[room]:
                wrong.append(f"{path.relative_to(_ROOT)} imports {name}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_every_room_has_a_floor():
    assert {_room(path) for path in _modules()} <= set(_FLOORS)


@pytest.mark.parametrize("library", sorted(_DOORS))
def test_a_library_has_one_door(library):
    users = {
        path.relative_to(_PACKAGE).as_posix()
        for path in _modules()
        if any(name.split(".")[0] == library for name in _imports(path))
    }
    assert users <= _DOORS[library]


def test_torch_stays_in_its_rooms():
    users = {_room(path) for path in _modules() if any(name.split(".")[0] == "torch" for name in _imports(path))}
    assert users <= _TORCH_ROOMS


def test_nothing_is_pickled():
    wrong = []
    for path in _modules():
        source = path.read_text()
        names = {name.split(".")[0] for name in _imports(path)}
        if names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}:
            wrong.append(f"{path}: imports a pickling library")
        wrong.extend(f"{path}: {word}" for word in ("torch.save", "torch.load", "allow_pickle=True") if word in source)
    assert not wrong


def test_modules_can_be_read_in_one_sitting():
    long = {path.name: count for path in _modules() if (count := len(path.read_text().splitlines())) > 300}
    assert not long


def test_functions_are_short():
    long = []
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                documented = ast.get_docstring(node)
                body = node.body[1:] if documented else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > 50:
                    long.append(f"{path.relative_to(_ROOT)}:{node.name} has {lines} lines")
    assert not long, "\n".join(long)


def test_the_project_names_no_machine():
    allowed = {"tests/test_architecture.py"}
    words = ("/work" + "/", "/home" + "/", "/root" + "/")
    shown = {".github", ".ci"}
    wrong = []
    for pattern in ("*.py", "*.sh", "*.md", "*.toml", "*.yml", "Makefile", "Dockerfile"):
        for path in _ROOT.rglob(pattern):
            relative = path.relative_to(_ROOT)
            if relative.parts[0] == "build" or (relative.parts[0].startswith(".") and relative.parts[0] not in shown):
                continue
            if relative.as_posix() not in allowed and any(word in path.read_text() for word in words):
                wrong.append(relative.as_posix())
    assert not wrong
