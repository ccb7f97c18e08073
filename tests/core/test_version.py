"""Which nnbox this is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nnbox import __version__, version
from nnbox.cli import main

_ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_revision_that_the_image_was_built_from_is_told(monkeypatch, capsys):
    monkeypatch.setenv("NNBOX_REVISION", "abc123")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nnbox {__version__} (revision abc123)\n"


def test_a_checkout_asks_git(monkeypatch):
    monkeypatch.delenv("NNBOX_REVISION", raising=False)
    head = subprocess.run(
        ["git", "-C", str(_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert head.startswith((version.revision() or "").removesuffix("-dirty"))
    assert len(version.revision() or "") >= 12


def test_without_git_the_version_stands_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("NNBOX_REVISION", raising=False)
    monkeypatch.setattr(version, "__file__", str(tmp_path / "nnbox" / "version.py"))
    assert version.revision() is None
    assert version.version_sentence() == f"nnbox {__version__}"
