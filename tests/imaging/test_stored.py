"""A NIfTI file that is unpacked here gives what SimpleITK gives, and its bytes are read once."""

from __future__ import annotations

import gzip
import hashlib
import struct

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.imaging import itk, stored, unpack
from nnbox.imaging.examine import examine
from nnbox.imaging.header import FindingKind, ImageReadError
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.io import read_volume
from nnbox.imaging.stored import read_stored
from nnbox.imaging.unpack import DamagedError, unpacked

_KINDS = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}


def nifti(array, *, order="<", scaling=(0.0, 0.0), qform=1, sform=0, start=352):
    """Return the bytes of a NIfTI-1 file."""
    head = bytearray(start)
    sizes = array.shape[::-1]
    struct.pack_into(f"{order}i", head, 0, 348)
    struct.pack_into(f"{order}8h", head, 40, len(sizes), *sizes, *[1] * (7 - len(sizes)))
    struct.pack_into(f"{order}2h", head, 70, _KINDS[array.dtype.str[1:]], 8 * array.dtype.itemsize)
    struct.pack_into(f"{order}8f", head, 76, -1, 0.7, 0.8, 2.5, 1, 0, 0, 0)
    struct.pack_into(f"{order}3f", head, 108, start, *scaling)
    struct.pack_into(f"{order}2h", head, 252, qform, sform)
    struct.pack_into(f"{order}6f", head, 256, 0.1, 0.2, 0.3, -4, 5, 60)
    struct.pack_into(f"{order}12f", head, 280, 0.7, 0, 0, -4, 0, 0.8, 0, 5, 0, 0, 2.5, 60)
    head[344:348] = b"n+1\0"
    return bytes(head) + array.astype(array.dtype.newbyteorder(order)).tobytes()


def same_as_simpleitk(path):
    ours, grid = read_volume(path)
    theirs, header = itk.volume_of(path)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype
    assert ours.dtype.isnative
    assert ours.flags.writeable
    assert grid == header.grid
    return ours


@pytest.mark.parametrize("kind", sorted(_KINDS))
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5), (2, 3, 4, 5)])
def test_every_type_and_byte_order_is_read_as_simpleitk_reads_it(tmp_path, kind, order, shape):
    array = (np.arange(np.prod(shape)).reshape(shape) % 120).astype(kind)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(array, order=order)))
    np.testing.assert_array_equal(same_as_simpleitk(path).reshape(shape), array)


@pytest.mark.parametrize("scaling", [(0, 0), (1, 0), (2, 0), (1, -1024), (0, 5), (-1, 0), (0.5, 0.25)])
@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8"])
def test_scaled_voxels_are_scaled_as_simpleitk_scales_them(tmp_path, scaling, kind):
    path = tmp_path / "a.nii"
    path.write_bytes(nifti(np.arange(60).reshape(3, 4, 5).astype(kind), scaling=scaling))
    same_as_simpleitk(path)


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2), (0, 4)])
@pytest.mark.parametrize("start", [352, 400, 2048])
def test_the_header_means_what_simpleitk_takes_it_for(tmp_path, codes, start):
    qform, sform = codes
    path = tmp_path / "a.nii.gz"
    content = nifti(np.arange(60).reshape(3, 4, 5).astype("i2"), qform=qform, sform=sform, start=start)
    path.write_bytes(gzip.compress(content))
    same_as_simpleitk(path)


def test_vectors_second_versions_and_complex_numbers_are_left_to_simpleitk(tmp_path):
    vectors = sitk.GetImageFromArray(np.random.default_rng(0).random((3, 4, 5, 2)), isVector=True)
    sitk.WriteImage(vectors, str(tmp_path / "v.nii.gz"))
    assert same_as_simpleitk(tmp_path / "v.nii.gz").shape == (2, 3, 4, 5)
    numbers = sitk.RealAndImaginaryToComplex(*[sitk.GetImageFromArray(np.ones((2, 3, 4), np.float32))] * 2)
    sitk.WriteImage(numbers, str(tmp_path / "c.nii.gz"))
    with pytest.raises(ImageReadError, match="complex"):
        read_volume(tmp_path / "c.nii.gz")


def test_nan_is_zero_and_a_finding(tmp_path):
    array = np.ones((2, 3, 4), np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(array)))
    assert same_as_simpleitk(path)[0, 0, 0].tolist() == [0, 0, 0, 1]
    found = examine(path, None)
    assert [finding.kind for finding in found.findings] == [FindingKind.NONFINITE]
    assert not found.is_damaged
    np.testing.assert_array_equal(found.values, read_volume(path)[0])


def test_without_a_temporary_folder_the_header_is_read_from_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(np.arange(60).reshape(3, 4, 5).astype("i2"))))
    expected = read_volume(path)

    def none(*_, **__):
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", none)
    values, grid = read_volume(path)
    np.testing.assert_array_equal(values, expected[0])
    assert grid == expected[1]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd"])
def test_an_examined_file_is_what_reading_its_parts_gives(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5)), str(path))
    found = examine(path, None)
    assert found.findings == file_findings(path) == ()
    assert found.state.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.state.size_bytes == path.stat().st_size
    assert found.header == itk.header_of(path)
    np.testing.assert_array_equal(found.values, read_volume(path)[0])
    assert found.refusal is None


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_a_damaged_file_has_a_digest_and_a_header_but_no_voxels(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    values = np.random.default_rng(0).integers(0, 99, (30, 40, 50)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), useCompression=True)
    path.write_bytes(path.read_bytes()[:-2000])
    found = examine(path, None)
    assert found.is_damaged
    assert found.values is None
    assert found.header.grid.shape_vox == (30, 40, 50)
    assert found.state.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_damaged_file_is_not_read_as_zeros(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(np.random.default_rng(0).random((9, 9, 9))))[:-500])
    with pytest.raises(ImageReadError, match="truncated"):
        read_volume(path)


def test_what_is_not_there_is_refused_in_words(tmp_path):
    assert "not there" in examine(tmp_path / "none.nii.gz", None).refusal.what
    assert "not supported" in examine(tmp_path / "none.txt", None).refusal.what


def test_a_header_that_claims_more_than_its_bytes_can_hold_costs_no_memory(tmp_path, monkeypatch):
    content = bytearray(nifti(np.zeros((3, 4, 5), np.int16)))
    struct.pack_into("<8h", content, 40, 3, 2000, 2000, 2000, 1, 1, 1, 1)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(content)))

    def empty(size, dtype):
        raise AssertionError(f"{size} bytes were asked for")

    monkeypatch.setattr(stored.np, "empty", empty)
    (finding,) = read_stored(path).findings
    assert "472 of 16000000352 bytes" in finding.what


@pytest.mark.parametrize("piece", [2, 7, 64, 1000])
def test_members_may_end_anywhere_in_a_piece(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(unpack, "PIECE_BYTES", piece)
    rng = np.random.default_rng(piece)
    content = rng.integers(0, 5, 3000).astype(np.uint8).tobytes()
    packed = gzip.compress(content[:900]) + gzip.compress(b"") + gzip.compress(content[900:])
    path = tmp_path / "a.gz"
    digest = hashlib.sha256()
    for tail in (b"", b"\x1f", bytes(100), b"note"):
        path.write_bytes(packed + tail)
        digest = hashlib.sha256()
        assert b"".join(unpacked(path, digest=digest)) == content
        assert digest.hexdigest() == hashlib.sha256(packed + tail).hexdigest()
    for end in (len(packed) - 1, len(packed) - 9, len(packed) - 200):
        path.write_bytes(packed[:end])
        with pytest.raises(DamagedError, match="truncated"):
            list(unpacked(path))


def test_a_digest_of_an_unchanged_file_is_kept(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(np.zeros((3, 4, 5), np.int16))))
    state = read_stored(path).state
    assert read_stored(path, known=state).state is state
    path.write_bytes(path.read_bytes() + bytes(8))
    assert read_stored(path, known=state).state.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_voxels_that_do_not_fit_into_memory_are_a_finding(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti(np.zeros((3, 4, 5), np.int16))))

    def empty(*_, **__):
        raise MemoryError

    monkeypatch.setattr(stored.np, "empty", empty)
    (finding,) = read_stored(path).findings
    assert "not enough memory" in finding.what
    with pytest.raises(ImageReadError, match="not enough memory"):
        read_volume(path)
