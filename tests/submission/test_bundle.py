"""Bundles: whole ones open, everything else is refused before anything is extracted."""

import gzip
import io
import json
import tarfile
from types import SimpleNamespace

import pytest

from nnbox.errors import DataError, IncompleteOutputError, NnboxError, RecordError, ResourceError
from nnbox.files import digest_file, forget_cached
from nnbox.submission import tarball
from nnbox.submission.bundle import open_bundle, pack_bundle, write_bundle


@pytest.fixture
def folder(tmp_path, plan, selection, weights):
    write_bundle(tmp_path / "model", plan, selection, weights)
    return tmp_path / "model"


@pytest.fixture
def archive(tmp_path, folder):
    pack_bundle(folder, tmp_path / "model.tar.gz")
    return tmp_path / "model.tar.gz"


@pytest.fixture
def scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def contents(path):
    return {entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file()}


def rebuild(archive, change=None, extra=(), fmt=tarfile.USTAR_FORMAT):
    """Write the archive again with members changed by ``change(info, content)`` and others added."""
    with tarfile.open(archive) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar.getmembers()]
    with tarfile.open(archive, "w:gz", format=fmt) as tar:
        for info, content in members:
            changed = change(info, content) if change else content
            if changed is not None:
                info.size = len(changed)
                tar.addfile(info, io.BytesIO(changed))
        for info, content in extra:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def entry(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(archive, scratch, words):
    with pytest.raises(NnboxError, match=words) as caught:
        open_bundle(archive, scratch)
    assert list(scratch.iterdir()) == []
    assert caught.value.exit_code in {3, 5}


def test_a_bundle_holds_all_that_predicting_needs(folder, plan, selection, weights, scratch):
    bundle = open_bundle(folder, scratch)
    assert (bundle.plan, bundle.selection) == (plan, selection)
    assert bundle.weights.keys() == weights.keys()
    for key, path in bundle.weights.items():
        assert path.read_bytes() == weights[key].read_bytes()
    assert bundle.manifest.versions.keys() == {"nnbox", "python", "torch", "numpy"}
    assert contents(folder) == {"manifest.json", *bundle.manifest.files}
    assert list(scratch.iterdir()) == []


def test_an_archive_opens_as_the_folder_it_was_packed_from(archive, folder, scratch):
    bundle = open_bundle(archive, scratch)
    assert bundle.folder.parent == scratch
    assert contents(bundle.folder) == contents(folder)
    assert bundle.manifest == open_bundle(folder, scratch).manifest


def test_equal_bundles_pack_to_equal_bytes(tmp_path, archive, plan, selection, weights):
    write_bundle(tmp_path / "again" / "model", plan, selection, weights)
    pack_bundle(tmp_path / "again" / "model", tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()


def test_writing_again_replaces_the_bundle_as_a_whole(folder, plan, selection, weights, replace, scratch):
    smaller = replace(selection, members=("2d",), folds={"2d": (0,)}, candidate="2d")
    write_bundle(folder, plan, smaller, {("2d", 0): weights["2d", 0]})
    assert open_bundle(folder, scratch).weights.keys() == {("2d", 0)}
    assert {entry.name for entry in folder.parent.iterdir()} == {"model", "training", "scratch"}


def test_an_incomplete_model_is_not_written(tmp_path, plan, selection, weights):
    del weights["3d_lowres", 1]
    with pytest.raises(IncompleteOutputError, match="3d_lowres, fold 1"):
        write_bundle(tmp_path / "model", plan, selection, weights)
    assert not (tmp_path / "model").exists()


def test_what_does_not_read_back_is_not_kept(tmp_path, folder, monkeypatch):
    """A disk that keeps another byte than it was given, in the middle of the file."""
    from nnbox.submission import bundle

    def damaging(archive):
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 1
        archive.write_bytes(content)
        forget_cached(archive)

    monkeypatch.setattr(bundle, "forget_cached", damaging)
    with pytest.raises(IncompleteOutputError, match=r"m\.tar\.gz: does not read back after writing"):
        pack_bundle(folder, tmp_path / "m.tar.gz")
    assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith("m.tar.gz")]


def test_a_damaged_folder_is_not_packed(folder, tmp_path):
    (folder / "weights/2d/fold_0.safetensors").unlink()
    with pytest.raises(DataError, match="is missing"):
        pack_bundle(folder, tmp_path / "m.tar.gz")
    assert not (tmp_path / "m.tar.gz").exists()


def test_a_changed_weights_file_in_a_folder_is_refused(folder, scratch):
    path = folder / "weights/2d/fold_0.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1] + b"\x7f")
    with pytest.raises(DataError, match=r"fold_0\.safetensors.*digest"):
        open_bundle(folder, scratch)


def test_an_unknown_file_or_a_link_in_a_folder_is_refused(folder, scratch):
    (folder / ".DS_Store").write_bytes(b"ignored")
    open_bundle(folder, scratch)
    (folder / "run.py").write_text("")
    with pytest.raises(DataError, match=r"run\.py"):
        open_bundle(folder, scratch)
    (folder / "run.py").unlink()
    (folder / "run.py").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match="link"):
        open_bundle(folder, scratch)


def test_a_missing_model_or_a_folder_without_manifest_is_refused(tmp_path, scratch):
    with pytest.raises(DataError, match="no such model"):
        open_bundle(tmp_path / "nothing", scratch)
    with pytest.raises(DataError, match=r"no manifest\.json"):
        open_bundle(tmp_path, scratch)


LEAVING = [
    "../evil.json",
    "weights/../../evil",
    "/etc/passwd",
    "weights\\..\\evil",
    "C:/evil",
    "weights/2d/../plan.json",
]


@pytest.mark.parametrize("name", LEAVING)
def test_a_path_that_leaves_the_archive_is_refused(archive, scratch, name):
    rebuild(archive, extra=[(entry(name), b"{}")])
    refused(archive, scratch, "leaves the archive")


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "named pipe": tarfile.FIFOTYPE,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["weights/2d/fold_9.safetensors", "plan.json"])
def test_links_and_devices_are_refused(archive, scratch, kind, name):
    rebuild(archive, extra=[(entry(name, KINDS[kind], "/etc/passwd"), b"")])
    refused(archive, scratch, kind)


@pytest.mark.parametrize("name", ["run.py", "weights/2d/fold_0.pt", "weights/4d/fold_0.safetensors", "a" * 90])
def test_an_unknown_file_is_refused(archive, scratch, name):
    rebuild(archive, extra=[(entry(name), b"content")])
    refused(archive, scratch, "which no bundle holds")


def test_known_names_that_the_manifest_does_not_list_are_refused(archive, scratch):
    rebuild(archive, extra=[(entry("weights/2d/fold_9.safetensors"), b"content")])
    refused(archive, scratch, "does not list")


def test_the_same_file_twice_is_refused(archive, scratch):
    rebuild(archive, extra=[(entry("plan.json"), b"{}")])
    refused(archive, scratch, "twice")


def test_a_changed_file_is_refused(archive, scratch):
    rebuild(archive, change=lambda info, content: content + b" " if info.name == "plan.json" else content)
    refused(archive, scratch, r"plan\.json does not have its manifest's digest")


@pytest.mark.parametrize("name", ["manifest.json", "plan.json", "weights/2d/fold_0.safetensors"])
def test_a_missing_file_is_refused(archive, scratch, name):
    rebuild(archive, change=lambda info, content: None if info.name == name else content)
    refused(archive, scratch, name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version"),
        ({"surprise": 1}, "surprise"),
        ({"files": {"run.py": "0"}}, "which no bundle holds"),
        ({"files": []}, "an object"),
        ({"task": "Task91_Other"}, "Task91_Other"),
    ],
)
def test_an_odd_manifest_is_refused(archive, scratch, change, words):
    def edit(info, content):
        if info.name != "manifest.json":
            return content
        return json.dumps(json.loads(content) | change).encode()

    rebuild(archive, change=edit)
    with pytest.raises((DataError, RecordError), match=words):
        open_bundle(archive, scratch)


@pytest.mark.parametrize("text", [b"", b"[", b"[" * 100_000, b"\xff", b"[1]", b'{"record": "bundle"}'])
def test_a_manifest_that_is_no_record_is_refused(archive, scratch, text):
    rebuild(archive, change=lambda info, content: text if info.name == "manifest.json" else content)
    refused(archive, scratch, "manifest|record")


@pytest.mark.parametrize("keep", [0, 10, 300, -600, -4])
def test_a_truncated_archive_is_refused(archive, scratch, keep):
    archive.write_bytes(archive.read_bytes()[:keep])
    refused(archive, scratch, "bundle")


def test_a_file_that_is_no_archive_is_refused(archive, scratch):
    archive.write_bytes(b"PK\x03\x04 nothing")
    refused(archive, scratch, "cannot be unpacked")


def test_data_after_the_end_are_refused(archive, scratch):
    raw = gzip.decompress(archive.read_bytes())
    archive.write_bytes(gzip.compress(raw + b"x" * 512))
    refused(archive, scratch, "data follow")


def header(name, size_field, kind=b"0"):
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size_field)] = size_field
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (header(b"plan.json", b"77777777777\0"), "truncated|claims"),
        (header(b"plan.json", b"\x80" + b"\xff" * 11), "damaged"),
        (header(b"plan.json", b"-1\0"), "damaged"),
        (header(b"plan.json", b"00000000010\0")[:-1] + b"x", "damaged"),
        (header(b"pax", b"00077777777\0", b"x"), "extended header claims"),
        (header(b"long", b"00000000010\0", b"L"), "more than 100 characters"),
        (header(b"sparse", b"00000000010\0", b"S"), "sparse"),
        (header(b"what", b"00000000010\0", b"Z"), "unknown kind"),
        (header(b"\xff\xfe", b"00000000010\0"), "ASCII"),
        (header(b"folder", b"00000000010\0", b"5"), "folder"),
    ],
)
def test_hostile_headers_are_refused(archive, scratch, block, words):
    archive.write_bytes(gzip.compress(block + bytes(512)))
    refused(archive, scratch, words)


def test_an_extended_header_that_renames_a_file_is_refused(archive, scratch):
    info = entry("plan.json")
    info.pax_headers = {"path": "/etc/passwd"}
    rebuild(archive, extra=[(info, b"{}")], fmt=tarfile.PAX_FORMAT)
    refused(archive, scratch, "'path'")


def test_archives_of_other_tools_open(archive, folder, scratch):
    """As GNU tar and Python's own defaults would pack the folder, with ./ in front and folders of their own."""
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.add(folder, arcname=".")
    open_bundle(archive, scratch)
    with tarfile.open(archive, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.add(folder, arcname="./")
    open_bundle(archive, scratch)


def test_a_bomb_is_refused_without_unpacking_it(archive, scratch, monkeypatch):
    monkeypatch.setattr(tarball, "_MAX_BYTES", 1 << 20)
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz", format=tarfile.USTAR_FORMAT) as tar:
        info = entry("weights/2d/fold_0.safetensors")
        info.size = 1 << 22
        tar.addfile(info, io.BytesIO(bytes(1 << 22)))
    archive.write_bytes(bomb.getvalue())
    refused(archive, scratch, "claims 4,194,304 bytes")


def test_too_many_members_are_refused(archive, scratch):
    archive.write_bytes(gzip.compress(header(b"weights", b"00000000000\0", b"5") * 5000))
    refused(archive, scratch, "more than 4096 members")


def test_padding_without_end_is_refused(archive, scratch):
    archive.write_bytes(gzip.compress(bytes(1 << 23)))
    refused(archive, scratch, "padding")


def test_a_full_disk_is_said_before_anything_is_extracted(archive, scratch, monkeypatch):
    monkeypatch.setattr("nnbox.submission.bundle.shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="10 bytes are free"):
        open_bundle(archive, scratch)
    assert list(scratch.iterdir()) == []


def test_weights_are_shared_or_copied_but_never_moved(folder, weights):
    for (configuration, fold), source in weights.items():
        assert digest_file(source) == digest_file(folder / f"weights/{configuration}/fold_{fold}.safetensors")
