"""The parts of a NIfTI header that tell whether a file is whole; SimpleITK's reader corrects them in silence."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace

_BYTES_PER_VOXEL = {
    2: 1,
    4: 2,
    8: 4,
    16: 4,
    32: 8,
    64: 8,
    128: 3,
    256: 1,
    512: 2,
    768: 4,
    1024: 8,
    1280: 8,
    1536: 16,
    1792: 16,
    2048: 32,
    2304: 4,
}
_REAL_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
HEADER_BYTES = 540
"""Bytes to read before `parse` can be called: the longer NIfTI-2 header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NiftiHeader:
    """What the stored header says.

    Attributes:
        data_start: byte at which the voxels begin.
        data_bytes: bytes of all voxels.
        voxel_bytes: bytes of one, at least 1.
        real_type: numpy type string of the voxels, with byte order, if they are real numbers; else None.
        is_scaled: the voxels are to be multiplied, or something is to be added.
        defects: what is wrong with the header, in words; each with what was expected.
    """

    data_start: int
    data_bytes: int
    voxel_bytes: int
    real_type: str | None
    is_scaled: bool
    defects: tuple[tuple[str, str], ...]


def parse(head: bytes) -> NiftiHeader | None:
    """Read a NIfTI-1 or NIfTI-2 header from the first bytes of the uncompressed file; None if there is none."""
    if len(head) < 352:
        return None
    for order in "<>":
        size = struct.unpack_from(f"{order}i", head)[0]
        if size == 348:
            return _parse_1(head, order)
        if size == 540 and len(head) >= 540:
            return _parse_2(head, order)
    return None


def _parse_1(head: bytes, order: str) -> NiftiHeader:
    dims = struct.unpack_from(f"{order}8h", head, 40)
    (kind,) = struct.unpack_from(f"{order}h", head, 70)
    pixdim = struct.unpack_from(f"{order}8f", head, 76)
    (start,) = struct.unpack_from(f"{order}f", head, 108)
    qform, sform = struct.unpack_from(f"{order}2h", head, 252)
    placing = struct.unpack_from(f"{order}18f", head, 256)
    single = head[344:347] == b"n+1"
    found = _header(dims, kind, pixdim, (start, 352 if single else None), (qform, sform, placing))
    return _with_type(found, kind, order, struct.unpack_from(f"{order}2f", head, 112))


def _parse_2(head: bytes, order: str) -> NiftiHeader:
    (kind,) = struct.unpack_from(f"{order}h", head, 12)
    dims = struct.unpack_from(f"{order}8q", head, 16)
    pixdim = struct.unpack_from(f"{order}8d", head, 104)
    (start,) = struct.unpack_from(f"{order}q", head, 168)
    qform, sform = struct.unpack_from(f"{order}2i", head, 344)
    placing = struct.unpack_from(f"{order}18d", head, 352)
    single = head[4:7] == b"n+2"
    found = _header(dims, kind, pixdim, (start, 544 if single else None), (qform, sform, placing))
    return _with_type(found, kind, order, struct.unpack_from(f"{order}2d", head, 176))


def _with_type(header: NiftiHeader, kind: int, order: str, scaling: tuple[float, float]) -> NiftiHeader:
    name = _REAL_TYPES.get(kind)
    slope, intercept = scaling
    return replace(
        header,
        real_type=None if name is None else f"{order}{name}",
        is_scaled=slope not in {0.0, 1.0} or intercept != 0.0,
    )


def _header(
    dims: tuple[int, ...],
    kind: int,
    pixdim: tuple[float, ...],
    start: tuple[float, int | None],
    placement: tuple[int, int, tuple[float, ...]],
) -> NiftiHeader:
    defects: list[tuple[str, str]] = []
    rank = dims[0]
    sizes = dims[1 : rank + 1] if 1 <= rank <= 7 else ()
    if not sizes or min(sizes) < 1:
        defects.append((f"its header states the dimensions {dims}", "1 to 7 dimensions of at least 1 voxel"))
    spacing = pixdim[1 : 1 + min(max(rank, 1), 3)]
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        words = ", ".join(f"{value:g}" for value in spacing)
        defects.append((f"its header states the spacing ({words}) mm (x, y, z)", "positive, finite spacings"))
    qform, sform, placing = placement
    used = (*(placing[:6] if qform > 0 else ()), *(placing[6:] if sform > 0 else ()))
    if not all(map(math.isfinite, used)):
        defects.append(("its header states a position or direction that is not finite", "finite numbers"))
    if kind not in _BYTES_PER_VOXEL:
        defects.append((f"its header states the unknown voxel type {kind}", "a NIfTI voxel type"))
    first = start[0] if math.isfinite(start[0]) else -1.0
    if start[1] is None:
        defects.append(("its voxels lie in another file (.img)", "header and voxels in one .nii file"))
    elif not start[1] <= first <= 2**31:
        defects.append((f"its header says that the voxels start at byte {start[0]:g}", f"{start[1]} or later"))
    itemsize = _BYTES_PER_VOXEL.get(kind, 0)
    return NiftiHeader(
        data_start=int(first),
        data_bytes=math.prod(sizes) * itemsize if not defects else 0,
        voxel_bytes=max(itemsize, 1),
        real_type=None,
        is_scaled=False,
        defects=tuple(defects),
    )
