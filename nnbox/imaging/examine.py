"""A file read once for intake: its digest, what is wrong with it, its header and its voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.files import digest_file
from nnbox.imaging.header import Finding, FindingKind, ImageHeader, ImageReadError
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.io import decoded
from nnbox.imaging.itk import header_of, volume_of
from nnbox.imaging.stored import is_nifti, read_stored
from nnbox.records.dataset import FileState


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examined:
    """What a file is.

    Attributes:
        path: the file.
        findings: its defects; see `nnbox.imaging.integrity.file_findings`.
        state: size, time and digest, or None where there is no such file.
        header: what it says about itself, or None where that cannot be read.
        values: (channel, z, y, x) of the stored type, or None where the file is damaged or cannot be read.
        refusal: why header or values are missing, unless a finding says it.
    """

    path: Path
    findings: tuple[Finding, ...] = ()
    state: FileState | None = None
    header: ImageHeader | None = None
    values: NDArray[np.generic] | None = None
    refusal: ImageReadError | None = None

    @property
    def is_damaged(self) -> bool:
        """Whether its bytes are not whole."""
        return any(finding.kind is FindingKind.DAMAGED for finding in self.findings)


def examine(path: Path, known: FileState | None) -> Examined:
    """Read an image or label file; a compressed NIfTI file, most of all there are, is read and unpacked once.

    Args:
        path: the file.
        known: its state in an earlier run; spares its digest while size and time are the same.
    """
    if not path.is_file():
        return Examined(path=path, refusal=_refusal(path))
    if not is_nifti(path):
        return _examine_other(path, known)
    stored = read_stored(path, known=known)
    state = stored.state or file_state(path, known)
    found = Examined(path=path, findings=stored.findings, state=state)
    try:
        found = replace(found, header=header_of(path, stored.head))
        if found.header is None or found.is_damaged:
            return found
        return replace(found, values=decoded(stored, found.header)[0])
    except ImageReadError as refusal:
        return replace(found, refusal=refusal)


def _examine_other(path: Path, known: FileState | None) -> Examined:
    found = Examined(path=path, findings=file_findings(path), state=file_state(path, known))
    try:
        if not found.is_damaged:
            values, header = volume_of(path)
            return replace(found, header=header, values=values)
    except ImageReadError as refusal:
        found = replace(found, refusal=refusal)
    try:
        return replace(found, header=header_of(path))
    except ImageReadError as refusal:
        return replace(found, refusal=refusal)


def _refusal(path: Path) -> ImageReadError:
    try:
        header_of(path)
    except ImageReadError as refusal:
        return refusal
    raise AssertionError("a file that is not there cannot be read")


def file_state(path: Path, known: FileState | None = None) -> FileState:
    """Return a file's state, with its digest taken from an earlier one while size and time are the same.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    if known is not None and (known.size_bytes, known.modified_ns) == (status.st_size, status.st_mtime_ns):
        return known
    return FileState(size_bytes=status.st_size, modified_ns=status.st_mtime_ns, sha256=digest_file(path))
