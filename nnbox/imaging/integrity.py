"""Is a file whole? What SimpleITK does not say about the files it reads.

It reads a truncated ``.nii.gz`` as zeros, puts 0 for stored NaN, takes a zero spacing for 1, and accepts damaged
compressed data of MetaImage and NRRD files and a BMP that ends early. So the bytes are looked at here, in pieces,
before they are read as an image: nothing larger than a piece is ever unpacked into memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from nnbox.imaging.header import Finding, FindingKind, ImageReadError, damaged
from nnbox.imaging.itk import header_of
from nnbox.imaging.stored import SLACK_BYTES, read_stored
from nnbox.imaging.text_header import meta_defect, text_header
from nnbox.imaging.unpack import DamagedError, unpacked
from nnbox.records.endings import image_ending

__all__ = ["Finding", "FindingKind", "companion_files", "file_findings"]


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
    except DamagedError as damage:
        return (damaged(str(damage)),)
    except OSError as error:
        return (damaged(f"it cannot be read ({error.strerror})", "a readable file", "check the disk and permissions"),)


def companion_files(path: Path) -> tuple[Path, ...]:
    """Return the data files that a ``.mhd`` or detached ``.nrrd`` header names and that lie beside it."""
    ending = image_ending(path.name)
    if ending not in {".mhd", ".mha", ".nrrd"} or not path.is_file():
        return ()
    fields, _ = text_header(path)
    name = fields.get("elementdatafile", fields.get("data file", fields.get("datafile", "local")))
    if name.lower() == "local" or not _is_beside(name):
        return ()
    return (path.with_name(name),) if path.with_name(name).is_file() else ()


def _nifti_findings(path: Path) -> tuple[Finding, ...]:
    return read_stored(path, keep=False).findings


def _meta_findings(path: Path) -> tuple[Finding, ...]:
    if defect := meta_defect(path):
        return (damaged(*defect, "correct the header, or --exclude its case"),)
    fields, start = text_header(path)
    name = fields.get("elementdatafile", "")
    data = path
    if name.lower() != "local":
        if not _is_beside(name):
            return (damaged(f"its voxels are said to lie in {name!r}", "a data file beside the header"),)
        data, start = path.with_name(name), 0
        if not data.is_file():
            return (damaged(f"its data file {name!r} is missing", "the data file beside the header", "put it there"),)
    if fields.get("compresseddata", "").lower() != "true":
        return ()
    return _compressed_findings(path, data, start)


def _nrrd_findings(path: Path) -> tuple[Finding, ...]:
    fields, start = text_header(path)
    name = fields.get("data file", fields.get("datafile"))
    data = path
    if name is not None:
        if not _is_beside(name):
            return (damaged(f"its voxels are said to lie in {name!r}", "a data file beside the header"),)
        data, start = path.with_name(name), 0
    if fields.get("encoding", "").lower() not in {"gzip", "gz"}:
        return ()
    return _compressed_findings(path, data, start)


def _compressed_findings(path: Path, data: Path, start: int) -> tuple[Finding, ...]:
    """Unpack the data in pieces and compare its length with the header; a wrong header is left to the reader."""
    try:
        header = header_of(path)
    except ImageReadError:
        return ()
    expected = header.channels * math.prod(header.grid.shape_vox) * np.dtype(header.pixel_type).itemsize
    length = 0
    for piece in unpacked(data, start=start, compressed=True):
        length += len(piece)
        if length > expected + SLACK_BYTES:
            return (damaged("it unpacks to much more than its header says", f"{expected} bytes"),)
    if length < expected:
        return (damaged(f"it is truncated: {length} of {expected} bytes of voxels", f"{expected} bytes"),)
    return ()


def _bmp_findings(path: Path) -> tuple[Finding, ...]:
    with path.open("rb") as stream:
        head = stream.read(34)
    if len(head) < 34:
        return (damaged(f"it is truncated: {len(head)} bytes"),)
    start, width, height = (int.from_bytes(head[at : at + 4], "little", signed=at > 10) for at in (10, 18, 22))
    bits, compression = int.from_bytes(head[28:30], "little"), int.from_bytes(head[30:34], "little")
    expected = start + (bits * width + 31) // 32 * 4 * abs(height)
    size = path.stat().st_size
    if compression == 0 and size < expected:
        return (damaged(f"it is truncated: {size} of {expected} bytes", f"{expected} bytes, as its header says"),)
    return ()


def _is_beside(name: str) -> bool:
    """Return whether a header's data file name stays in the header's folder."""
    return bool(name) and "%" not in name and PurePosixPath(name).name == name and name not in {".", "..", "LIST"}


_CHECKS: dict[str, Callable[[Path], tuple[Finding, ...]]] = {
    ".nii": _nifti_findings,
    ".nii.gz": _nifti_findings,
    ".mha": _meta_findings,
    ".mhd": _meta_findings,
    ".nrrd": _nrrd_findings,
    ".bmp": _bmp_findings,
}
