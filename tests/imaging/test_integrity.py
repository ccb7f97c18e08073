"""Files that SimpleITK reads without a word although they are not whole are found out."""

import gzip
import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.imaging.integrity import FindingKind, companion_files, file_findings

VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")


def write(path, dtype=np.float32, compress=True):
    rng = np.random.default_rng(1)
    image = sitk.GetImageFromArray(rng.integers(0, 100, (20, 30, 40)).astype(dtype))
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


def words(path):
    return "; ".join(finding.what for finding in file_findings(path))


@pytest.mark.parametrize("ending", VOLUMES)
@pytest.mark.parametrize("compress", [True, False])
def test_a_whole_file_has_no_finding(tmp_path, ending, compress):
    assert file_findings(write(tmp_path / f"a{ending}", compress=compress)) == ()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_found(tmp_path, ending, share):
    path = write(tmp_path / f"a{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(len(content) * share))])
    if ending in {".mha", ".nrrd"} and share == 0.01:
        return  # cut within its header, which the reader itself refuses
    (finding,) = file_findings(path)
    assert finding.kind is FindingKind.DAMAGED


def test_a_damaged_checksum_is_found_though_the_length_is_right(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    assert words(path)
    content[-5] ^= 1
    content[-8] ^= 1
    path.write_bytes(bytes(content))
    assert "incorrect" in words(path) or "damaged" in words(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_stored_nan_is_seen_in_the_bytes(tmp_path, ending, order):
    array = np.ones((2, 3, 4), np.float32)
    array[0, 0, 0], array[1, 2, 3] = np.nan, -np.inf
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, 3, 4, 3, 2, 1, 1, 1, 1)
    struct.pack_into(f"{order}2h", header, 70, 16, 32)
    struct.pack_into(f"{order}8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into(f"{order}f", header, 108, 352)
    header[344:348] = b"n+1\0"
    content = bytes(header) + array.astype(f"{order}f4").tobytes()
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    (finding,) = file_findings(path)
    assert (finding.kind, finding.what) == (FindingKind.NONFINITE, "2 voxel(s) are NaN or infinite")
    assert "--replace-nonfinite" in finding.remedy


@pytest.mark.parametrize(
    ("offset", "value", "expected"),
    [
        (80, struct.pack("<f", 0), "spacing (0, 1, 1)"),
        (84, struct.pack("<f", -2), "spacing (1, -2, 1)"),
        (88, struct.pack("<f", float("nan")), "spacing (1, 1, nan)"),
        (70, struct.pack("<h", 99), "unknown voxel type 99"),
        (42, struct.pack("<h", 0), "dimensions"),
        (42, struct.pack("<h", -5), "dimensions"),
        (40, struct.pack("<h", 9), "dimensions"),
        (108, struct.pack("<f", 100), "start at byte 100"),
        (108, struct.pack("<f", float("nan")), "start at byte"),
        (280, struct.pack("<f", float("inf")), "not finite"),
        (42, struct.pack("<h", 41), "truncated"),
        (0, b"nope", "does not begin with a NIfTI header"),
        (344, b"ni1\0", "another file"),
    ],
)
def test_impossible_header_values_are_told(tmp_path, offset, value, expected):
    path = write(tmp_path / "a.nii", compress=False)
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(bytes(content))
    assert expected in words(path)


def test_a_file_that_unpacks_to_much_more_than_it_says_is_found_in_pieces(tmp_path):
    path = write(tmp_path / "a.nii", compress=False)
    packer = zlib.compressobj(9, wbits=31)
    with (tmp_path / "bomb.nii.gz").open("wb") as stream:
        stream.write(packer.compress(path.read_bytes()))
        for _ in range(40):
            stream.write(packer.compress(bytes(1 << 22)))
        stream.write(packer.flush())
    assert "much more than its header says" in words(tmp_path / "bomb.nii.gz")


def test_a_few_bytes_after_the_voxels_are_let_go(tmp_path):
    path = write(tmp_path / "a.nii", compress=False)
    path.write_bytes(path.read_bytes() + b"note" * 10)
    assert file_findings(path) == ()
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()) + bytes(100))
    assert file_findings(packed) == ()


def test_compression_in_several_members_is_whole(tmp_path):
    content = write(tmp_path / "a.nii", compress=False).read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    assert file_findings(path) == ()
    path.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:])[:-9])
    assert "truncated" in words(path)


def test_a_wrong_ending_does_not_hide_compression(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    renamed = tmp_path / "b.nii"
    renamed.write_bytes(path.read_bytes())
    assert file_findings(renamed) == ()


def test_data_files_beside_a_header_are_found_and_others_refused(tmp_path):
    path = write(tmp_path / "a.mhd", compress=False)
    assert [file.name for file in companion_files(path)] == ["a.raw"]
    (tmp_path / "a.raw").unlink()
    assert "'a.raw' is missing" in words(path)
    path.write_text(path.read_text().replace("a.raw", "../../etc/passwd"))
    assert "'../../etc/passwd'" in words(path)
    assert companion_files(path) == ()
    assert companion_files(write(tmp_path / "b.nii.gz")) == ()


def test_a_bmp_that_ends_early_is_found(tmp_path):
    path = tmp_path / "a.bmp"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((20, 30), np.uint8)), str(path))
    assert file_findings(path) == ()
    path.write_bytes(path.read_bytes()[:-100])
    assert "truncated" in words(path)
    path.write_bytes(b"BM")
    assert "truncated" in words(path)


def test_missing_and_other_files_are_left_to_the_reader(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert file_findings(tmp_path / "a.txt") == file_findings(tmp_path / "none.nii.gz") == ()


def test_real_files_are_whole(shared):
    files = sorted((shared / "data" / "Task11_SarcomaCT").glob("*/*_00[1-3].nii.gz"))
    assert files
    assert all(file_findings(file) == () for file in files)
