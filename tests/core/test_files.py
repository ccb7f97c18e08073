"""A file is whole or absent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nnbox.files import atomic_path, atomic_paths, atomic_write_bytes, digest_file, digest_text, link_or_copy


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    target = tmp_path / "a.txt"
    atomic_write_bytes(target, b"old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_name_keeps_the_suffixes(tmp_path):
    with atomic_path(tmp_path / "a.nii.gz") as temporary:
        assert temporary.name.endswith("a.nii.gz")
        temporary.write_bytes(b"x")
    assert (tmp_path / "a.nii.gz").read_bytes() == b"x"


def test_a_digest_is_the_sha256_of_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1000)
    assert digest_file(path) == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_a_text_with_a_name_that_is_not_utf8_has_a_digest():
    name = b"stray-\xff.txt".decode(errors="surrogateescape")
    assert digest_text(name) != digest_text("stray-.txt")
    assert digest_text("plain") == hashlib.sha256(b"plain").hexdigest()


def test_several_files_are_there_together_or_not_at_all(tmp_path):
    paths = [tmp_path / "a" / "1.txt", tmp_path / "b" / "2.txt"]
    with atomic_paths(paths) as temporaries:
        for path in temporaries:
            path.write_text("new")
        assert not any(path.exists() for path in paths)
    assert [path.read_text() for path in paths] == ["new", "new"]
    with pytest.raises(RuntimeError, match="halfway"), atomic_paths(paths) as temporaries:
        temporaries[0].write_text("newer")
        raise RuntimeError("halfway")
    assert [path.read_text() for path in paths] == ["new", "new"]
    with pytest.raises(FileNotFoundError), atomic_paths(paths) as temporaries:
        temporaries[0].write_text("newer")  # and the second is never written
    assert [path.read_text() for path in paths] == ["new", "new"]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["1.txt", "2.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_holds_the_same_content_on_any_file_system(tmp_path, links, monkeypatch):
    (tmp_path / "a").write_text("content")
    if not links:

        def refuse(self, target):
            raise OSError("no hard links here")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
    assert (tmp_path / "b").samefile(tmp_path / "a") == links
    link_or_copy(tmp_path / "a", tmp_path / "b")  # replaced by another name of itself
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
