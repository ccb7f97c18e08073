"""The text headers of MetaImage and NRRD files, read without any library.

MetaImage's own reader believes a header: told of more dimensions than its arrays hold, or given a line longer than its
buffer, it writes past them. So such headers are refused before that reader sees them.
"""

from __future__ import annotations

import math
from pathlib import Path

from nnbox.imaging.header import MAX_VOXELS

_LARGEST_HEADER = 1 << 16
_LONGEST_LINE = 4096
_MOST_DIMENSIONS = 4
_MOST_CHANNELS = 1 << 16
_LAST_FIELD = "elementdatafile"
_SINGLE = ("ndims", "dimsize", "elementnumberofchannels", "headersize", "compresseddatasize", _LAST_FIELD)


def text_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the ``key = value`` or ``key: value`` lines of a MetaImage or NRRD header, and where its data starts."""
    fields: dict[str, str] = {}
    start = 0
    for line in _head(path).splitlines(keepends=True):
        start += len(line)
        key, value = _field(line)
        fields[key] = value
        if not line.strip() or key == _LAST_FIELD:
            break
    return fields, start


def meta_defect(path: Path) -> tuple[str, str] | None:
    """Return what makes a MetaImage header unfit to be read, and what was expected; None where it is fit.

    Source: own

    Raises:
        OSError: the file cannot be read.
    """
    fields: dict[str, str] = {}
    for line in _head(path).splitlines():
        key, value = _field(line)
        if len(line) > _LONGEST_LINE:
            return f"its header has a line of {len(line):,} bytes", f"lines of at most {_LONGEST_LINE} bytes"
        if line.strip() and b"=" not in line and b":" not in line:
            return f"its header has the line {line[:40].decode('latin-1')!r}", "lines such as NDims = 3"
        if key in fields and key in _SINGLE:
            return f"its header states {key!r} twice", "each field once"
        fields[key] = value
        if key == _LAST_FIELD:
            break
    else:
        return "its header has no ElementDataFile", "a MetaImage header"
    return _numbers_defect(fields)


def _numbers_defect(fields: dict[str, str]) -> tuple[str, str] | None:
    dimensions = _whole(fields.get("ndims", ""))
    if dimensions is None or not 1 <= dimensions <= _MOST_DIMENSIONS:
        return f"its header states NDims = {fields.get('ndims', '')[:40]}", f"2 to {_MOST_DIMENSIONS} dimensions"
    sizes = [_whole(word) for word in fields.get("dimsize", "").split()]
    known = [size for size in sizes if size is not None and size > 0]
    channels = _whole(fields.get("elementnumberofchannels", "1"))
    stated = f"its header states DimSize = {fields.get('dimsize', '')[:60]}"
    if len(sizes) != dimensions or len(known) != dimensions:
        return stated, f"{dimensions} sizes of at least 1 voxel"
    if channels is None or not 1 <= channels <= _MOST_CHANNELS:
        what = f"its header states ElementNumberOfChannels = {fields.get('elementnumberofchannels', '')[:40]}"
        return what, f"1 to {_MOST_CHANNELS} numbers per voxel"
    if math.prod(known) * channels > MAX_VOXELS:
        return f"{stated} with {channels} channel(s)", "a plausible size"
    for name, least in (("headersize", -1), ("compresseddatasize", 0)):
        if name in fields and ((value := _whole(fields[name])) is None or value < least):
            return f"its header states {name} = {fields[name][:40]}", f"a whole number of at least {least}"
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(_LARGEST_HEADER)


def _field(line: bytes) -> tuple[str, str]:
    text = line.decode("latin-1").strip()
    key, _, value = text.partition("=" if "=" in text.partition(":")[0] else ":")
    return key.strip().lower(), value.lstrip("=").strip()


def _whole(text: str) -> int | None:
    try:
        return int(text) if len(text) < 20 and text.isascii() and "_" not in text else None
    except ValueError:
        return None
