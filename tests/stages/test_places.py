"""A wrong mount is refused before anything is read, with the line that works."""

import os
from pathlib import Path

import pytest

from nnbox.errors import ResourceError, UsageError
from nnbox.stages import places
from nnbox.stages.container import command_line, mounts
from nnbox.stages.places import require_places, require_scratch

_TABLE = r"""
22 1 0:20 / / rw,relatime - overlay overlay rw
30 22 8:1 /var/lib/docker/volumes/data/_data /input ro,relatime master:1 - ext4 /dev/sda1 rw
31 22 8:1 /srv/my\040results /output rw,relatime - ext4 /dev/sda1 rw
32 22 0:44 /shared/x /other rw - virtiofs none rw
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(_TABLE.lstrip("\n"))
    return path


def test_volumes_and_folders_are_told_apart(table):
    found = mounts(table)
    assert (found["/input"].source, found["/input"].read_only) == ("data", True)
    assert (found["/output"].source, found["/output"].read_only) == ("/srv/my results", False)
    assert found["/other"].source is None


def test_the_line_repeats_the_command_with_what_was_missing(table, tmp_path, monkeypatch):
    monkeypatch.setenv("NNBOX_IMAGE", "nnbox")
    line = command_line(user="0:0", words=["train", "--folds", "0"], table=table)
    assert line == "docker run --user 0:0 -v data:/input:ro -v '/srv/my results:/output' nnbox train --folds 0"
    table.write_text(_TABLE.replace("/output", "/elsewhere").lstrip("\n"))
    line = command_line(results=True, words=["train"], table=table)
    assert line == "docker run -v data:/input:ro -v nnbox-results:/output nnbox train"
    assert mounts(tmp_path / "absent") == {}


def test_an_output_among_the_inputs_files_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(UsageError, match="lies inside --input"):
        require_places(tmp_path / "data" / "results", tmp_path / "data")


def test_a_file_where_the_output_should_be_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ResourceError, match=r"cannot be written.*--output"):
        require_places(tmp_path / "out", tmp_path / "data")


def test_two_containers_whose_runs_are_both_process_1_try_a_folder_at_once(tmp_path, monkeypatch):
    touch, asked = Path.touch, []

    def meet(self, *args, **kwargs):
        touch(self, *args, **kwargs)
        asked.append(self)
        if len(asked) == 1:
            require_places(tmp_path / "out", tmp_path / "data")  # the other one, from beginning to end

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(Path, "touch", meet)
    require_places(tmp_path / "out", tmp_path / "data")
    assert len(set(asked)) == 2
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_of_another_user_is_told_with_owner_and_remedy(tmp_path, monkeypatch, inside):
    """Root may write anywhere, so that the refusal itself is played; the image test meets the real one."""

    def refuse(self, *_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    if inside:
        monkeypatch.setenv("NNBOX_IMAGE", "nnbox")
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(ResourceError) as error:
        require_places(tmp_path / "nnbox", tmp_path)
    assert f"belongs to user {os.getuid()} (mode 0700)" in str(error.value)
    assert ("docker run --user" in str(error.value)) == inside
    assert ("--output" in str(error.value)) != inside


def test_a_read_only_input_without_an_output_is_refused_since_nothing_would_survive(tmp_path, monkeypatch):
    def refuse(self, *_args, **_kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setenv("NNBOX_IMAGE", "nnbox")
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(ResourceError, match=r"no result would survive[\s\S]*-v nnbox-results:/output nnbox"):
        require_places(tmp_path / "nnbox", tmp_path)


def test_caches_go_to_scratch_where_the_home_takes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    for name in places._CACHES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that it is restored afterwards
        monkeypatch.delenv(name)
    require_scratch(tmp_path / "out")
    assert all(str(os.getuid()) in os.environ[name] for name in places._CACHES)
    for name in places._CACHES:
        monkeypatch.delenv(name)
