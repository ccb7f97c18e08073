"""A NIfTI file read once: the digest of its bytes, what is wrong with them, and what they unpack to.

The file is unpacked in pieces. Nothing is kept of a file whose header claims more than its bytes can hold.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.imaging import nifti
from nnbox.imaging.header import MAX_VOXELS, Finding, FindingKind, damaged, lack_of_memory
from nnbox.imaging.unpack import MOST_EXPANSION, DamagedError, unpacked
from nnbox.records.dataset import FileState
from nnbox.records.endings import image_ending

SLACK_BYTES = 1 << 26
"""Bytes after the voxels that are let go: some writers append notes, a bomb appends more."""
_LARGEST_HEAD = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stored:
    """What a NIfTI file holds.

    Attributes:
        path: the file.
        state: size, time and digest of all its bytes; None where it could not be read to its end.
        findings: its defects; see `nnbox.imaging.integrity.file_findings`.
        header: the parsed header; None where there is none.
        head: what it unpacks to up to the voxels; None where there is no header, or an absurdly long one.
        voxels: their bytes as uint8; None where the file is damaged, or where they were not wanted.
    """

    path: Path
    state: FileState | None = None
    findings: tuple[Finding, ...] = ()
    header: nifti.NiftiHeader | None = None
    head: bytes | None = None
    voxels: NDArray[np.uint8] | None = None


def is_nifti(path: Path) -> bool:
    """Return whether a file is called a NIfTI file."""
    return image_ending(path.name) in {".nii", ".nii.gz"}


def read_stored(path: Path, *, keep: bool = True, known: FileState | None = None) -> Stored:
    """Read a NIfTI file to its end, unless its header is impossible or it unpacks to far more than that says.

    Args:
        path: the file.
        keep: keep the voxels; without, no more than a few pieces are in memory.
        known: its state in an earlier run, which holds while size and time are the same.
    """
    digest = hashlib.sha256()
    try:
        status = path.stat()
        if known is not None and (known.size_bytes, known.modified_ns) != (status.st_size, status.st_mtime_ns):
            known = None
        pieces = unpacked(path, digest=digest if known is None else None)
        stored = _take(path, pieces, keep=keep, room=status.st_size * MOST_EXPANSION)
        if next(pieces, None) is not None:
            return stored
    except DamagedError as damage:
        return Stored(path=path, findings=(damaged(str(damage)),))
    except MemoryError:
        finding = damaged("there is not enough memory to unpack it", "a file that fits into memory", "give more memory")
        return Stored(path=path, findings=(finding,))
    except OSError as error:
        finding = damaged(f"it cannot be read ({error.strerror})", "a readable file", "check the disk and permissions")
        return Stored(path=path, findings=(finding,))
    state = known or FileState(size_bytes=status.st_size, modified_ns=status.st_mtime_ns, sha256=digest.hexdigest())
    return replace(stored, state=state)


def _take(path: Path, pieces: Iterator[bytes], *, keep: bool, room: int) -> Stored:
    """Take a file apart; ``room`` is the most that its bytes can unpack to."""
    begin = b""
    for piece in pieces:
        begin += piece
        if len(begin) >= nifti.HEADER_BYTES:
            break
    header = nifti.parse(begin)
    if header is None:
        return Stored(path=path, findings=(damaged("it does not begin with a NIfTI header", "a NIfTI file"),))
    head = begin[: header.data_start] if 0 <= header.data_start <= min(len(begin), _LARGEST_HEAD) else None
    stored = Stored(path=path, header=header, head=head)
    end = header.data_start + header.data_bytes
    holds = keep and end <= room
    if findings := _claims(path, header, holds=holds):
        return replace(stored, findings=findings)
    voxels = np.empty(header.data_bytes, dtype=np.uint8) if holds else None
    position, nonfinite = 0, _Nonfinite(header.real_type)
    for piece in itertools.chain((begin,), pieces):
        start = max(header.data_start - position, 0)
        part = memoryview(piece)[start : max(end - position, 0)]
        if voxels is not None and part:
            at = position + start - header.data_start
            voxels[at : at + len(part)] = np.frombuffer(part, dtype=np.uint8)
        nonfinite.count(part)
        position += len(piece)
        if position > end + SLACK_BYTES:
            finding = damaged("it unpacks to much more than its header says", f"{end} bytes")
            return replace(stored, findings=(finding,))
    if position < end:
        finding = damaged(f"it is truncated: {position} of {end} bytes", f"{end} bytes, as its header says")
        return replace(stored, findings=(finding,))
    return replace(stored, findings=nonfinite.findings(), voxels=voxels)


def _claims(path: Path, header: nifti.NiftiHeader, *, holds: bool) -> tuple[Finding, ...]:
    """Return what is wrong with a header before its voxels are looked at; ``holds``: the file can hold them."""
    if header.defects:
        remedy = "correct the header, or --exclude its case"
        return tuple(damaged(what, expected, remedy) for what, expected in header.defects)
    if header.data_bytes > 8 * MAX_VOXELS:
        return (damaged(f"its header claims {header.data_bytes >> 30} GiB of voxels", "a plausible size"),)
    if holds and (lack := lack_of_memory(path, header.data_bytes // header.voxel_bytes, header.data_bytes)):
        return (damaged(*lack, "give more memory, resample it, or --exclude its case"),)
    return ()


class _Nonfinite:
    """Counts the NaN and infinite voxels of a float file in the pieces it comes in."""

    def __init__(self, real_type: str | None) -> None:
        kind = None if real_type is None else np.dtype(real_type)
        self._kind = kind if kind is not None and np.issubdtype(kind, np.floating) else None
        self._rest = b""
        self._found = 0

    def count(self, part: memoryview) -> None:
        if self._kind is None:
            return
        content = part if not self._rest else memoryview(self._rest + part)
        whole = len(content) - len(content) % self._kind.itemsize
        numbers = np.frombuffer(content[:whole], dtype=self._kind)
        self._found += numbers.size - int(np.count_nonzero(np.isfinite(numbers)))
        self._rest = bytes(content[whole:])

    def findings(self) -> tuple[Finding, ...]:
        if self._found == 0:
            return ()
        return (
            Finding(
                kind=FindingKind.NONFINITE,
                what=f"{self._found} voxel(s) are NaN or infinite",
                expected="finite numbers",
                remedy="accept 0 in their place with --replace-nonfinite, or --exclude the case",
            ),
        )
