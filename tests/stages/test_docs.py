"""The documentation: every command in it is carried out or at least understood, every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.exceptions import TyperException
from typer.main import get_command

from nnbox.cli import _spread_lists
from nnbox.cli.commands import app
from nnbox.layouts.detect import detect

_ROOT = Path(__file__).resolve().parent.parent.parent
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"(?P<run><!-- run -->\n)?```sh\n(?P<text>.*?)```", re.DOTALL)
_COMMANDS = get_command(app).commands
# Commands of others: their own words are not ours to check, but a new one is a decision.
_OTHERS = {"apptainer", "docker", "srun", "gzip", "git"}


@dataclass(frozen=True)
class _Block:
    page: Path
    text: str
    runs: bool

    @property
    def commands(self):
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def _blocks():
    for page in _PAGES:
        for found in _BLOCK.finditer(page.read_text()):
            yield _Block(page=page, text=found["text"], runs=found["run"] is not None)


def _typed(line):
    """Return the words of nnbox in a command line, or None where it is another program's alone."""
    words = shlex.split(line, comments=True)
    for separator in ("|", ">"):
        words = words[: words.index(separator)] if separator in words else words
    program = Path(words[0]).name
    if program == "nnbox":
        return words[1:]
    assert program in {*_OTHERS, "make"}, f"{program} in {line!r} is a command that no test understands yet"
    if program in {"docker", "apptainer", "srun"} and "run" in words and "--entrypoint" not in words:
        image = next(place for place, word in enumerate(words) if re.fullmatch(r"nnbox(\.sif)?", word))
        return words[image + 1 :]
    return None


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_command_is_understood(page, monkeypatch):
    monkeypatch.setenv("NNBOX_INPUT", "/input")
    monkeypatch.setenv("NNBOX_OUTPUT", "/output")
    targets = set(re.findall(r"^([\w-]+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in (block for block in _blocks() if block.page == page):
        for line in block.commands:
            words = shlex.split(line, comments=True)
            if words[0] == "make":
                assert {word for word in words[1:] if "=" not in word} <= targets, line
            typed = _typed(line)
            if not typed or typed[0].startswith("--"):
                continue
            verb, *rest = typed
            assert verb in _COMMANDS, line
            try:
                _COMMANDS[verb].make_context(verb, _spread_lists(rest))
            except TyperException as error:
                pytest.fail(f"{page.name}: {line}: {error.format_message()}")
            except typer.Exit:
                assert "--help" in rest


@pytest.mark.parametrize(
    "line", ["nnbox train --inputs x", "nnbox tran --input x", "nnbox train --epochs none --input x", "frobnicate x"]
)
def test_the_check_of_commands_can_fail(line, monkeypatch):
    page = _PAGES[0]
    monkeypatch.setattr(sys.modules[__name__], "_blocks", lambda: [_Block(page=page, text=f"{line}\n", runs=False)])
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test_every_command_is_understood(page, monkeypatch)


@pytest.fixture
def place(finished, tmp_path):
    """Where the pages' commands run: a data set, a finished run on it, and references of its test images."""
    out, options, _, _ = finished
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "Task01_Tiny").symlink_to(options.input)
    shutil.copytree(out, tmp_path / "run")
    shutil.copytree(out / "predictions", tmp_path / "references")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nnbox"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m nnbox "$@"\n')
    program.chmod(0o755)
    return tmp_path


_RUN = [page for page in _PAGES if any(block.runs for block in _blocks() if block.page == page)]


@pytest.mark.parametrize("page", _RUN, ids=lambda page: page.name)
def test_commands_marked_to_run_do_run(page, place):
    """In one shell, in the order of the page; the only change is a budget that is smaller still."""
    text = "\n".join(block.text for block in _blocks() if block.runs and block.page == page)
    text = re.sub(r"--epochs \d+", "--epochs 1", re.sub(r"--iterations \d+", "--iterations 1", text))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NNBOX_")}
    environment |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(_ROOT), "COLUMNS": "100"}
    environment |= {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_most_pages_for_users_have_commands_that_run():
    assert {page.stem for page in _RUN} >= {
        *("README", "data-layouts", "outputs", "recipes", "command-line", "troubleshooting")
    }


@pytest.mark.parametrize("page", [*_PAGES, _ROOT / "nnbox/rules/README.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("https://", "http://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_synopsis_has_every_verb_and_every_option():
    text = (_ROOT / "README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    synopsis = next(block for kind, block in blocks if not kind and "nnbox inspect" in block)
    found = {}
    for line in re.split(r"\nnnbox ", "\n" + synopsis)[1:]:
        verb, _, rest = line.partition(" ")
        found[verb] = set(re.findall(r"--[a-z][a-z-]*", rest))
    assert set(found) == set(_COMMANDS)
    for verb, named in found.items():
        known = {name for parameter in _COMMANDS[verb].params for name in parameter.opts if name.startswith("--")}
        assert named <= known, verb
    trained = {name for parameter in _COMMANDS["train"].params for name in parameter.opts}
    assert found["train"] == trained - {"--help"}


def test_the_table_of_variables_is_that_of_the_source():
    sources = [
        *(_ROOT / "nnbox").rglob("*.py"),
        _ROOT / "entrypoint.py",
        _ROOT / "Dockerfile",
        _ROOT / "tests/conftest.py",
    ]
    sources.append(_ROOT / "tests/stages/test_report_in_browser.py")
    used = {name for path in sources for name in re.findall(r"(?<!_)\bNNBOX_[A-Z]+\b", path.read_text())}
    listed = set(re.findall(r"^\| `(NNBOX_[A-Z]+)`", (_ROOT / "docs/command-line.md").read_text(), re.MULTILINE))
    assert listed == used


def test_the_exit_codes_of_the_pages_are_those_of_the_program():
    from nnbox import errors
    from nnbox.interruption import INTERRUPTED, TERMINATED

    codes = {0, INTERRUPTED, TERMINATED}
    codes |= {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    text = (_ROOT / "docs/troubleshooting.md").read_text()
    assert {
        int(code) for head in re.findall(r"^## ([\d, ]+):", text, re.MULTILINE) for code in head.split(",")
    } == codes


def test_the_layouts_of_the_page_are_those_that_are_recognised(finished):
    text = (_ROOT / "docs/data-layouts.md").read_text()
    assert f"| `{detect(finished[1].input).layout}` |" in text
    source = "".join(path.read_text() for path in (_ROOT / "nnbox/layouts").glob("*.py"))
    named = set(re.findall(r'layout="([\w-]+)"', source)) | set(re.findall(r'"(nnunet_v1|decathlon|flat)"', source))
    missing = {name for name in named - {"unknown"} if f"`{name}`" not in text}
    assert missing == set()


def test_the_output_tree_of_the_page_is_what_a_run_leaves(finished):
    text = (_ROOT / "docs/outputs.md").read_text()
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    listed = {name.partition("/")[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    left = {path.name for path in finished[0].iterdir() if not path.name.startswith(".")}
    assert left <= listed | {"previous-runs"}
    assert listed - left <= {"explained", "time_budget.json"}  # on demand
