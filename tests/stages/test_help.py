"""The words of the command line: they fit a terminal, show defaults, complete themselves, mean one thing each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from nnbox.cli import main
from nnbox.cli.commands import app

_ROOT = Path(__file__).resolve().parent.parent.parent
_COMMANDS = get_command(app).commands


def _help(capsys, *words):
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def _options():
    for verb, command in _COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                yield verb, parameter


@pytest.mark.parametrize("words", [(), *((verb,) for verb in _COMMANDS)], ids=lambda words: " ".join(words) or "nnbox")
def test_help_fits_80_columns(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = _help(capsys, *words)
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.replace("[ARGS]...", "")


@pytest.mark.parametrize("verb", _COMMANDS)
def test_help_shows_the_default_of_every_option_that_has_a_value(verb, capsys):
    text = " ".join(_help(capsys, verb).split())
    for parameter in _COMMANDS[verb].params:
        if parameter.param_type_name != "option" or parameter.is_flag or parameter.name == "help":
            continue
        name = parameter.opts[0]
        start = text.index(f" {name} ")
        following = re.search(r" --?\w[\w-]* (?:[A-Z]+|[A-Z][a-z])", text[start + len(name) + 2 :])
        own = text[start : start + len(name) + 2 + following.start()] if following else text[start:]
        optional = {"--fingerprint", "--task", "--report"}  # without them something else is done
        assert "default" in own or "required" in own or name in optional, own


def test_one_name_means_one_thing():
    kinds = {}
    for verb, parameter in _options():
        for name in parameter.opts:
            kinds.setdefault(name, {}).setdefault((parameter.metavar, parameter.is_flag), []).append(verb)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_options_are_words_with_hyphens():
    assert all(re.fullmatch(r"--[a-z]+(-[a-z]+)*", parameter.opts[0]) for _, parameter in _options())


def _completed(words, number, **more):
    environment = {
        **os.environ,
        "_NNBOX_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(number),
        **more,
    }
    code = "import sys; from nnbox.cli import main; main([]); "
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "number", "wanted"),
    [
        ("nnbox pre", 1, ["predict"]),
        ("nnbox plan --recipe ", 3, ["2018", "2019", "2021"]),
        ("nnbox train --until pre", 3, ["predict", "preprocess"]),
        ("nnbox synthesize --preset s", 3, ["smoke"]),
        ("nnbox train --plan", 2, ["--planning-memory"]),
    ],
)
def test_words_are_completed(words, number, wanted):
    assert sorted(_completed(words, number)) == wanted


def test_cases_are_completed_from_the_run(finished):
    found = _completed(f"nnbox explain --output {finished[0]} smoke_00", 4)
    assert found[:2] == ["smoke_001", "smoke_002"]
    assert _completed(f"nnbox explain --output {finished[0] / 'absent'} s", 4) == []


def test_completion_and_help_import_nothing_heavy():
    code = (
        "import sys; from nnbox.cli import main; main(['--help']); main(['train', '--help']); "
        "print(sorted({'torch', 'numpy', 'SimpleITK', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_shell_gets_its_script():
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code = "import sys; from nnbox.cli import main; sys.exit(main(['--show-completion', 'bash']))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_NNBOX_COMPLETE=complete_bash" in done.stdout
