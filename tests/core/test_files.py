"""A file is whole or absent."""

from __future__ import annotations

import hashlib

import pytest

from nnbox.files import atomic_path, atomic_write_bytes, digest_file, digest_text


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
