"""Which nnbox this is."""

from __future__ import annotations

import subprocess

from nnbox import __version__, version
from nnbox.cli import main


def test_the_revision_that_the_image_was_built_from_is_told(monkeypatch, capsys):
    monkeypatch.setenv("NNBOX_REVISION", "abc123")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nnbox {__version__} (revision abc123)\n"
    monkeypatch.setenv("NNBOX_REVISION", "unknown")
    assert version.version_sentence() == f"nnbox {__version__}"


def test_a_checkout_asks_git(monkeypatch, tmp_path):
    monkeypatch.delenv("NNBOX_REVISION", raising=False)
    monkeypatch.setattr(version, "__file__", str(tmp_path / "nnbox" / "version.py"))
    (tmp_path / "nnbox").mkdir()
    (tmp_path / "nnbox" / "version.py").write_text("")

    def git(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=n@example.org", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert version.revision() == head[:12]
    (tmp_path / "nnbox" / "version.py").write_text("changed")
    assert version.revision() == f"{head[:12]}-dirty"


def test_without_git_the_version_stands_alone(monkeypatch, tmp_path):
    monkeypatch.delenv("NNBOX_REVISION", raising=False)
    monkeypatch.setattr(version, "__file__", str(tmp_path / "nnbox" / "version.py"))
    assert version.revision() is None
    assert version.version_sentence() == f"nnbox {__version__}"
