"""Is a file whole? What SimpleITK does not say about the files it reads.

It reads a truncated ``.nii.gz`` as zeros, puts 0 for stored NaN, takes a zero spacing for 1, and accepts damaged
compressed data of MetaImage and NRRD files and a BMP that ends early. So the bytes are looked at here, in pieces,
before they are read as an image: nothing larger than a piece is ever unpacked into memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath

import numpy as np

from nnbox.imaging import nifti
from nnbox.imaging.header import MAX_VOXELS, ImageReadError
from nnbox.imaging.io import read_header
from nnbox.records.endings import image_ending

_PIECE = 1 << 22
_SLACK = 1 << 26  # bytes after the voxels that are let go: some writers append notes, a bomb appends more
_REPLACE = "replace the file, or --exclude its case"


class FindingKind(StrEnum):
    """What a finding is about; only non-finite voxels can be accepted by an option."""

    DAMAGED = "damaged"
    NONFINITE = "nonfinite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One defect of a file: what it is, what was expected, and what to do."""

    kind: FindingKind
    what: str
    expected: str
    remedy: str


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """The compressed bytes are not whole; the message says how."""


def file_findings(path: Path) -> tuple[Finding, ...]:
    """Return what is wrong with the stored bytes of an image or label file; empty for a whole file.

    Looks for: truncated or damaged compression (length and checksum), fewer bytes than the header says, many more
    bytes than it says, impossible header values, non-finite voxels in a NIfTI file, data files that lie elsewhere.
    What the reader itself reports (see `nnbox.imaging.io`) is left to it.
    """
    check = _CHECKS.get(image_ending(path.name) or "")
    if check is None or not path.is_file():
        return ()
    try:
        return check(path)
    except _Damaged as damage:
        return (_damaged(str(damage)),)
    except OSError as error:
        return (_damaged(f"it cannot be read ({error.strerror})", "a readable file", "check the disk and permissions"),)


def companion_files(path: Path) -> tuple[Path, ...]:
    """Return the data files that a ``.mhd`` or detached ``.nrrd`` header names and that lie beside it."""
    ending = image_ending(path.name)
    if ending not in {".mhd", ".mha", ".nrrd"} or not path.is_file():
        return ()
    fields, _ = _text_header(path)
    name = fields.get("elementdatafile", fields.get("data file", fields.get("datafile", "local")))
    if name.lower() == "local" or not _is_beside(name):
        return ()
    return (path.with_name(name),) if path.with_name(name).is_file() else ()


def _damaged(what: str, expected: str = "a whole file", remedy: str = _REPLACE) -> Finding:
    return Finding(kind=FindingKind.DAMAGED, what=what, expected=expected, remedy=remedy)


def _nifti_findings(path: Path) -> tuple[Finding, ...]:
    pieces = _unpacked(path)
    buffer = b""
    for piece in pieces:
        buffer += piece
        if len(buffer) >= nifti.HEADER_BYTES:
            break
    header = nifti.parse(buffer)
    if header is None:
        return (_damaged("it does not begin with a NIfTI header", "a NIfTI file"),)
    if header.defects:
        return tuple(
            _damaged(what, expected, "correct the header, or --exclude its case") for what, expected in header.defects
        )
    if header.data_bytes > 8 * MAX_VOXELS:
        return (_damaged(f"its header claims {header.data_bytes >> 30} GiB of voxels", "a plausible size"),)
    end = header.data_start + header.data_bytes
    position, nonfinite, rest = 0, 0, b""
    for piece in _joined(buffer, pieces):
        if header.float_type is not None:
            start = max(header.data_start - position, 0)
            rest += piece[start : max(end - position, 0)]
            whole = len(rest) - len(rest) % np.dtype(header.float_type).itemsize
            nonfinite += int(np.count_nonzero(~np.isfinite(np.frombuffer(rest[:whole], dtype=header.float_type))))
            rest = rest[whole:]
        position += len(piece)
        if position > end + _SLACK:
            return (_damaged("it unpacks to much more than its header says", f"{end} bytes"),)
    if position < end:
        return (_damaged(f"it is truncated: {position} of {end} bytes", f"{end} bytes, as its header says"),)
    return (_nonfinite(nonfinite),) if nonfinite else ()


def _nonfinite(count: int) -> Finding:
    return Finding(
        kind=FindingKind.NONFINITE,
        what=f"{count} voxel(s) are NaN or infinite",
        expected="finite numbers",
        remedy="accept 0 in their place with --replace-nonfinite, or --exclude the case",
    )


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _meta_findings(path: Path) -> tuple[Finding, ...]:
    fields, start = _text_header(path)
    name = fields.get("elementdatafile", "")
    data = path
    if name.lower() != "local":
        if not _is_beside(name):
            return (_damaged(f"its voxels are said to lie in {name!r}", "a data file beside the header"),)
        data, start = path.with_name(name), 0
        if not data.is_file():
            return (_damaged(f"its data file {name!r} is missing", "the data file beside the header", "put it there"),)
    if fields.get("compresseddata", "").lower() != "true":
        return ()
    return _compressed_findings(path, data, start)


def _nrrd_findings(path: Path) -> tuple[Finding, ...]:
    fields, start = _text_header(path)
    name = fields.get("data file", fields.get("datafile"))
    data = path
    if name is not None:
        if not _is_beside(name):
            return (_damaged(f"its voxels are said to lie in {name!r}", "a data file beside the header"),)
        data, start = path.with_name(name), 0
    if fields.get("encoding", "").lower() not in {"gzip", "gz"}:
        return ()
    return _compressed_findings(path, data, start)


def _compressed_findings(path: Path, data: Path, start: int) -> tuple[Finding, ...]:
    """Unpack the data in pieces and compare its length with the header; a wrong header is left to the reader."""
    try:
        header = read_header(path)
    except ImageReadError:
        return ()
    expected = header.channels * math.prod(header.grid.shape_vox) * np.dtype(header.pixel_type).itemsize
    length = 0
    for piece in _unpacked(data, start=start, compressed=True):
        length += len(piece)
        if length > expected + _SLACK:
            return (_damaged("it unpacks to much more than its header says", f"{expected} bytes"),)
    if length < expected:
        return (_damaged(f"it is truncated: {length} of {expected} bytes of voxels", f"{expected} bytes"),)
    return ()


def _bmp_findings(path: Path) -> tuple[Finding, ...]:
    with path.open("rb") as stream:
        head = stream.read(34)
    if len(head) < 34:
        return (_damaged(f"it is truncated: {len(head)} bytes"),)
    start, width, height = (int.from_bytes(head[at : at + 4], "little", signed=at > 10) for at in (10, 18, 22))
    bits, compression = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    expected = start + (bits * width + 31) // 32 * 4 * abs(height)
    size = path.stat().st_size
    if compression == 0 and size < expected:
        return (_damaged(f"it is truncated: {size} of {expected} bytes", f"{expected} bytes, as its header says"),)
    return ()


def _text_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the ``key = value`` or ``key: value`` lines of a MetaImage or NRRD header, and where its data starts."""
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    fields: dict[str, str] = {}
    start = 0
    for line in head.splitlines(keepends=True):
        start += len(line)
        text = line.decode("latin-1").strip()
        key, _, value = text.partition("=" if "=" in text.partition(":")[0] else ":")
        fields[key.strip().lower()] = value.lstrip("=").strip()
        if not text or key.strip().lower() == "elementdatafile":
            break
    return fields, start


def _is_beside(name: str) -> bool:
    """Return whether a header's data file name stays in the header's folder."""
    return bool(name) and "%" not in name and PurePosixPath(name).name == name and name not in {".", "..", "LIST"}


def _unpacked(path: Path, *, start: int = 0, compressed: bool = False) -> Iterator[bytes]:
    """Yield the file's bytes from ``start`` on in pieces, unpacked if they are gzip (or zlib, with ``compressed``).

    Raises:
        _Damaged: the compressed stream ends early or its checksum is wrong.
    """
    with path.open("rb") as stream:
        stream.seek(start)
        block = stream.read(_PIECE)
        if not compressed and block[:2] != b"\x1f\x8b":
            while block:
                yield block
                block = stream.read(_PIECE)
            return
        unpacker = zlib.decompressobj(wbits=47)
        while block:
            try:
                yield unpacker.decompress(block, _PIECE)
            except zlib.error as error:
                raise _Damaged(f"its compressed data is damaged ({error})") from None
            block = unpacker.unconsumed_tail or (unpacker.unused_data if unpacker.eof else b"")
            if unpacker.eof:
                if block[:2] != b"\x1f\x8b":  # the rest is no further gzip member: padding
                    return
                unpacker = zlib.decompressobj(wbits=47)
            block = block or stream.read(_PIECE)
        while piece := unpacker.decompress(b"", _PIECE):  # what the size limit above held back
            yield piece
        if not unpacker.eof:
            raise _Damaged("its compressed data ends early (truncated)")


_CHECKS: dict[str, Callable[[Path], tuple[Finding, ...]]] = {
    ".nii": _nifti_findings,
    ".nii.gz": _nifti_findings,
    ".mha": _meta_findings,
    ".mhd": _meta_findings,
    ".nrrd": _nrrd_findings,
    ".bmp": _bmp_findings,
}
