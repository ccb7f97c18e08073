"""Files that are cut, damaged, swollen or empty, and voxels and labels that cannot be meant."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
from defect_row import INSPECT, PREDICT, TRAIN, Row
from rows_common import row
from small_set import CASES, TEST, patch, rewrite, unpacked

_CASE = "case beta"
_OUT = "--exclude beta"


def _cut(share):
    def spoil(data):
        content = data.image().read_bytes()
        data.image().write_bytes(content[: int(len(content) * share)])

    return spoil


def _cut_test(data):
    content = data.image(TEST).read_bytes()
    data.image(TEST).write_bytes(content[: len(content) // 2])


def _wrong_checksum(data):
    content = bytearray(data.image().read_bytes())
    content[-6] ^= 0xFF
    data.image().write_bytes(bytes(content))


def _content(content):
    def spoil(data):
        data.image().write_bytes(content)

    return spoil


def _bomb(data):
    """Claim 4 GB of zeros honestly: a megabyte of them deflated once, and repeated."""
    head = unpacked(data.image())[:352]
    struct.pack_into("<8h", head, 40, 3, 2000, 2000, 1000, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first = packer.compress(bytes(head)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    data.image().write_bytes(first + block * 3815)


def _tail_bomb(data):
    """A whole file followed by a gzip member of 200 MB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = packer.compress(bytes(200 << 20)) + packer.flush()
    data.image().write_bytes(data.image().read_bytes() + block)


def _png_bomb(data):
    """A header of 60000 x 60000 pixels in a file of 100 bytes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">2I5B", 60000, 60000, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1 << 16))), chunk(b"IEND", b"")]
    data.image().write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _with_value(value, name="beta"):
    def spoil(data):
        def change(values):
            values = values.astype(np.float64 if abs(value) > 1e38 and np.isfinite(value) else np.float32)
            values[2, 3, 4] = value
            return values

        rewrite(data.image(name), change)

    return spoil


def _labels(change):
    def spoil(data):
        rewrite(data.label(), change)

    return spoil


def _put(value, kind):
    def change(values):
        values = values.astype(kind)
        values.reshape(-1)[:3] = value
        return values

    return _labels(change)


def _all_labels(change):
    def spoil(data):
        for name in CASES:
            rewrite(data.label(name), change)

    return spoil


def _shift(mm):
    def spoil(data):
        rewrite(data.label(), origin=(1.0 + mm, 2.0, 3.0))

    return spoil


def _scaled_label(data):
    patch(data.label(), {112: ("2f", (0.5, 0.0))})


def _constant(data):
    rewrite(data.image(), lambda values: np.full_like(values, 7))


DAMAGED: tuple[Row, ...] = (
    row("truncated", "decathlon", ".nii.gz", _cut(0.6), INSPECT, 3, _CASE, "truncated", "replace the file", _OUT),
    row("truncated", "nnunet_v2", ".nii.gz", _cut(0.6), TRAIN, 3, _CASE, "truncated", "replace the file", _OUT),
    row("truncated", "flat", ".nii.gz", _cut(0.6), PREDICT, 3, _CASE, "truncated", "replace the file", _OUT),
    row("truncated", "bare", ".nii", _cut(0.9), INSPECT, 3, _CASE, "truncated", "as its header says", _OUT),
    row("truncated", "decathlon", ".mha", _cut(0.9), INSPECT, 3, _CASE, "truncated", _OUT),
    row("truncated", "nnunet_v1", ".nrrd", _cut(0.9), INSPECT, 3, _CASE, "truncated", _OUT),
    row("truncated", "nnunet_v2", ".png", _cut(0.5), INSPECT, 3, _CASE, _OUT),
    row("truncated", "nnunet_v2", ".tif", _cut(0.5), INSPECT, 3, _CASE, _OUT),
    row("truncated", "bare", ".bmp", _cut(0.5), INSPECT, 3, _CASE, "truncated", _OUT),
    row(
        "data file cut",
        "bare",
        ".mhd",
        lambda data: data.image().with_suffix(".raw").write_bytes(b"\0" * 99),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "data file missing",
        "decathlon",
        ".mhd",
        lambda data: data.image().with_suffix(".raw").unlink(),
        INSPECT,
        3,
        _CASE,
        "'beta.raw' is missing",
        _OUT,
    ),
    row(
        "data file elsewhere",
        "decathlon",
        ".mhd",
        lambda data: data.image().write_bytes(data.image().read_bytes().replace(b"beta.raw", b"../../etc/passwd")),
        INSPECT,
        3,
        _CASE,
        "'../../etc/passwd'",
        "beside the header",
        _OUT,
    ),
    row(
        "list of data files",
        "decathlon",
        ".mhd",
        lambda data: data.image().write_bytes(data.image().read_bytes().replace(b"beta.raw", b"LIST\n/etc/passwd")),
        INSPECT,
        3,
        _CASE,
        "'LIST'",
        _OUT,
    ),
    row("wrong checksum", "decathlon", ".nii.gz", _wrong_checksum, INSPECT, 3, _CASE, "damaged", _OUT),
    row("wrong checksum", "bare", ".nrrd", _wrong_checksum, INSPECT, 3, _CASE, "damaged", _OUT),
    row("file of 0 bytes", "decathlon", ".nii.gz", _content(b""), INSPECT, 3, _CASE, "NIfTI header", _OUT),
    row("file of 0 bytes", "bare", ".mha", _content(b""), INSPECT, 3, _CASE, "MetaImage header", _OUT),
    row("file of 0 bytes", "nnunet_v2", ".png", _content(b""), INSPECT, 3, _CASE, _OUT),
    row("file of 0 bytes", "flat", ".nii.gz", _content(b""), PREDICT, 3, _CASE, "NIfTI header", _OUT),
    row(
        "wrong ending (text)",
        "decathlon",
        ".nii.gz",
        _content(b"case,volume\n" * 99),
        INSPECT,
        3,
        _CASE,
        "does not begin with a NIfTI header",
        _OUT,
    ),
    row("wrong ending (a zip)", "nnunet_v2", ".nrrd", _content(b"PK\3\4" + bytes(99)), INSPECT, 3, _CASE, _OUT),
    row(
        "wrong ending (a NIfTI file)",
        "bare",
        ".mha",
        lambda data: data.image().write_bytes(gzip.compress(bytes(348))),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "uncompressed under a .gz name",
        "decathlon",
        ".nii.gz",
        lambda data: data.image().write_bytes(bytes(unpacked(data.image()))),
        INSPECT,
        0,
        "stored as",
    ),
    row(
        "gzip bomb of 4 GB that its header admits",
        "decathlon",
        ".nii.gz",
        _bomb,
        INSPECT,
        3,
        _CASE,
        "4,000,000,000 voxels",
        "4.0 GiB of memory available",
        _OUT,
    ),
    row(
        "gzip bomb of 4 GB that its header admits",
        "flat",
        ".nii.gz",
        _bomb,
        PREDICT,
        3,
        _CASE,
        "4,000,000,000 voxels",
        "4.0 GiB of memory available",
        _OUT,
    ),
    row(
        "gzip bomb behind the voxels",
        "bare",
        ".nii.gz",
        _tail_bomb,
        INSPECT,
        3,
        _CASE,
        "much more than its header says",
        _OUT,
    ),
    row(
        "picture of 60000 x 60000 in 200 bytes",
        "nnunet_v2",
        ".png",
        _png_bomb,
        INSPECT,
        3,
        _CASE,
        "3,600,000,000 voxels",
        _OUT,
    ),
)
VOXELS: tuple[Row, ...] = (
    row(
        "a NaN voxel",
        "decathlon",
        ".nii.gz",
        _with_value(np.nan),
        INSPECT,
        3,
        _CASE,
        "1 voxel(s) are NaN or infinite",
        "--replace-nonfinite",
        _OUT,
    ),
    row(
        "a NaN voxel",
        "nnunet_v1",
        ".mha",
        _with_value(np.nan),
        INSPECT,
        3,
        _CASE,
        "1 voxel(s) are NaN or infinite",
        "--replace-nonfinite",
        _OUT,
    ),
    row(
        "a NaN voxel",
        "bare",
        ".nrrd",
        _with_value(np.nan),
        TRAIN,
        3,
        _CASE,
        "1 voxel(s) are NaN or infinite",
        "--replace-nonfinite",
        _OUT,
    ),
    row(
        "a NaN voxel",
        "flat",
        ".nii",
        _with_value(np.nan),
        PREDICT,
        3,
        _CASE,
        "1 voxel(s) are NaN or infinite",
        "--replace-nonfinite",
        _OUT,
    ),
    row(
        "a NaN voxel, accepted",
        "decathlon",
        ".nii.gz",
        _with_value(np.nan),
        f"{INSPECT} --replace-nonfinite",
        0,
        "stored as",
    ),
    row(
        "an infinite voxel",
        "nnunet_v2",
        ".nii.gz",
        _with_value(np.inf),
        INSPECT,
        3,
        _CASE,
        "1 voxel(s) are NaN or infinite",
        "--replace-nonfinite",
        _OUT,
    ),
    row("a voxel beyond float32 (1e300)", "decathlon", ".nii.gz", _with_value(1e300), INSPECT, 3, _CASE, _OUT),
    row("a voxel beyond float32 (1e300)", "bare", ".nrrd", _with_value(1e300), INSPECT, 3, _CASE, _OUT),
    row(
        "constant image",
        "decathlon",
        ".nii.gz",
        _constant,
        INSPECT,
        0,
        "warning",
        _CASE,
        "the value 7 everywhere",
        _OUT,
    ),
    row("constant image", "bare", ".mha", _constant, TRAIN, 0, "warning", _CASE, "the value 7 everywhere", _OUT),
)
LABELS: tuple[Row, ...] = (
    row("whole labels stored as float", "decathlon", ".nii.gz", _put(1.0, np.float32), INSPECT, 0, "label 1: one"),
    row("fractional label", "decathlon", ".nii.gz", _put(0.5, np.float32), INSPECT, 3, _CASE, "no whole numbers", _OUT),
    row("fractional label", "bare", ".mha", _put(0.5, np.float32), INSPECT, 3, _CASE, "no whole numbers", _OUT),
    row("fractions by the header's scaling", "decathlon", ".nii.gz", _scaled_label, INSPECT, 3, _CASE, _OUT),
    row(
        "NaN label",
        "nnunet_v2",
        ".nii.gz",
        _put(np.nan, np.float32),
        INSPECT,
        3,
        _CASE,
        "3 voxel(s) are NaN or infinite",
        "correct the label map",
        _OUT,
    ),
    row(
        "negative label",
        "decathlon",
        ".nii.gz",
        _put(-1, np.int16),
        INSPECT,
        3,
        _CASE,
        "unknown label value -1 (3 voxels)",
        "only 0, 1, 2",
        _OUT,
    ),
    row("negative label", "bare", ".nrrd", _put(-1, np.int16), INSPECT, 3, _CASE, "-1 (3 voxels)", _OUT),
    row(
        "label above 65535", "decathlon", ".nii.gz", _put(70000, np.int32), INSPECT, 3, _CASE, "70000 (3 voxels)", _OUT
    ),
    row("label above 65535", "bare", ".nii.gz", _put(70000, np.int32), TRAIN, 3, _CASE, "70000 (3 voxels)", _OUT),
    row("label beyond 32 bits", "bare", ".nrrd", _put(1 << 40, np.int64), INSPECT, 3, _CASE, _OUT),
    row(
        "masks of 0 and 255",
        "decathlon",
        ".nii.gz",
        _labels(lambda values: (values > 0).astype(np.uint8) * 255),
        INSPECT,
        3,
        _CASE,
        "unknown label value 255",
        "only 0, 1, 2",
        _OUT,
    ),
    row(
        "masks of 0 and 255, every case",
        "bare",
        ".nii.gz",
        _all_labels(lambda values: (values > 0).astype(np.uint8) * 255),
        INSPECT,
        0,
        "label 255: label_255",
    ),
    row(
        "masks of 0 and 255, every case",
        "nnunet_v2",
        ".png",
        _all_labels(lambda values: (values > 0).astype(np.uint8) * 255),
        INSPECT,
        3,
        "255",
        "dataset.json",
    ),
    row(
        "no foreground anywhere",
        "decathlon",
        ".nii.gz",
        _all_labels(np.zeros_like),
        INSPECT,
        3,
        "none of the 3 label maps",
        "labelsTr",
    ),
    row(
        "an image for a label map",
        "bare",
        ".nii.gz",
        lambda data: data.label().write_bytes(data.image().read_bytes()),
        INSPECT,
        0,
        "warning",
    ),
    row(
        "label of another size",
        "nnunet_v1",
        ".nii.gz",
        _labels(lambda values: values[1:]),
        INSPECT,
        3,
        _CASE,
        "its size is (5, 10, 12)",
        _OUT,
    ),
    row("label moved by 1e-6 mm", "decathlon", ".nii.gz", _shift(1e-6), INSPECT, 0, "label 1: one"),
    row("label moved by 1e-6 mm", "bare", ".mha", _shift(1e-6), INSPECT, 0, "label 1: label_1"),
    row(
        "label moved by 1 mm",
        "decathlon",
        ".nii.gz",
        _shift(1.0),
        INSPECT,
        3,
        _CASE,
        "moves the image's corners by 1.25 voxels",
        "--trust-image-grid",
        _OUT,
    ),
    row(
        "label moved by 1 mm",
        "nnunet_v2",
        ".nrrd",
        _shift(1.0),
        TRAIN,
        3,
        _CASE,
        "moves the image's corners by 1.25 voxels",
        "--trust-image-grid",
        _OUT,
    ),
    row(
        "label moved by 1 mm", "bare", ".mha", _shift(1.0), INSPECT, 3, _CASE, "1.25 voxels", "--trust-image-grid", _OUT
    ),
)
