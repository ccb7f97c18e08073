"""A reader of plain tar streams that trusts nothing: files and folders only, every size bounded before it is read.

The standard library's reader follows links, devices, sparse files and extended headers of any length, all of which a
bundle has no use for; refusing by default needs less code than guarding each of them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nnbox.errors import DataError

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_MEMBERS = 4096
_MAX_BYTES = 64 << 30
# Weights hardly shrink: what swells like this holds zeros, and is a bomb.
_MAX_EXPANSION = 50
_FREELY_EXPANDED = 64 << 20
_MAX_EXTENDED_HEADER = 1 << 16
_REGULAR = {b"0", b"\0"}
_FOLDER = b"5"
_EXTENDED = {b"x", b"g"}
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"L": "a name of more than 100 characters",
    b"K": "a link name of more than 100 characters",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFile:
    """One regular file of the stream.

    Attributes:
        name: relative path with forward slashes, no ``..``, no leading ``./``.
        size_bytes: as its header says.
        content: its bytes in chunks of at most 1 MiB; what is not consumed is skipped.
    """

    name: str
    size_bytes: int
    content: Iterator[bytes]


def read_tar_gz(archive: Path) -> Iterator[TarFile]:
    """Walk through the regular files of a ``.tar.gz`` without writing anything.

    Args:
        archive: the file.

    Raises:
        DataError: not a gzip file, truncated, damaged, or a member is a link, a device, a path that leaves the archive,
            or too large; or there are more than 4096 members; or all of it is larger than 64 GiB, or than 64 MiB and 50
            times the archive.
    """
    with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw) as unpacked:
        yield from _walk(_Bounded(archive, unpacked, _most_bytes(archive)))


def _most_bytes(archive: Path) -> int:
    return min(_MAX_BYTES, max(_FREELY_EXPANDED, _MAX_EXPANSION * archive.stat().st_size))


class _Bounded:
    """A stream that counts what was read and refuses to go past its limit or its end."""

    def __init__(self, archive: Path, stream: gzip.GzipFile, limit: int) -> None:
        self.archive = archive
        self.stream: BinaryIO = stream  # type: ignore[assignment] # a GzipFile reads as a binary stream does
        self.left = limit

    def refuse(self, what: str) -> DataError:
        return DataError(f"{self.archive}: refused, {what}; a bundle made by nnbox is expected. Nothing was extracted.")

    def read(self, size: int) -> bytes:
        """Read at most ``size`` bytes; nothing at the end."""
        try:
            return self.stream.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.archive}: the bundle cannot be unpacked ({error}); copy it again") from None

    def chunk(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, at most 1 MiB."""
        if size > self.left:
            raise self.refuse("it unpacks to more than the limit")
        content = self.read(size)
        if len(content) != size:
            raise self.refuse("it ends early (truncated)")
        self.left -= size
        return content


def _walk(source: _Bounded) -> Iterator[TarFile]:
    for _ in range(_MAX_MEMBERS):
        header = source.chunk(_BLOCK)
        if not any(header):
            return _check_end(source)
        kind, size = header[156:157], _size(source, header)
        name = _name(source, header)
        if kind in _REGULAR:
            if size > source.left:
                raise source.refuse(f"{name!r} claims {size:,} bytes where at most {source.left:,} can be meant")
            content = _content(source, size)
            yield TarFile(name=name, size_bytes=size, content=content)
            for _rest in content:
                pass
        elif kind in _EXTENDED:
            _check_extended(source, size)
        elif kind != _FOLDER:
            raise source.refuse(f"{name!r} is {_KINDS.get(kind, f'of the unknown kind {kind!r}')}")
        elif size:
            raise source.refuse(f"the folder {name!r} claims {size:,} bytes")
    raise source.refuse(f"it has more than {_MAX_MEMBERS} members")


def _content(source: _Bounded, size: int) -> Iterator[bytes]:
    left = size
    while left:
        part = source.chunk(min(left, _CHUNK))
        left -= len(part)
        yield part
    source.chunk(-size % _BLOCK)


def _name(source: _Bounded, header: bytes) -> str:
    parts = [header[:100].split(b"\0", 1)[0]]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        parts.insert(0, prefix)
    try:
        name = b"/".join(parts).decode("ascii")
    except UnicodeDecodeError:
        raise source.refuse("a member's name is not plain ASCII") from None
    name = re.sub(r"^(\./)+", "", name).rstrip("/")
    if re.search(r"[\x00-\x1f\\:]", name) or name.startswith("/") or ".." in name.split("/"):
        raise source.refuse(f"the path {name!r} leaves the archive")
    return name


def _size(source: _Bounded, header: bytes) -> int:
    stated = _octal(header[148:156])
    actual = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    size = _octal(header[124:136])
    if stated != actual or size is None:
        raise source.refuse("a member's header is damaged")
    return size


def _octal(field: bytes) -> int | None:
    text = field.strip(b" \0")
    return int(text, 8) if re.fullmatch(rb"[0-7]+", text) else None


def _check_extended(source: _Bounded, size: int) -> None:
    """Skip an extended header that only dates or owns a file; refuse one that renames, links or resizes."""
    if size > _MAX_EXTENDED_HEADER:
        raise source.refuse(f"an extended header claims {size:,} bytes")
    text = b"".join(_content(source, size))
    if found := re.search(rb"(?:^|[\n ])(path|linkpath|size|GNU\.sparse[^=]*)=", text):
        raise source.refuse(f"an extended header sets {found[1].decode('ascii', 'replace')!r}")


def _check_end(source: _Bounded) -> None:
    """Read what follows the last member: zeros up to the end, which also makes gzip compare its checksum."""
    for _ in range(_MAX_MEMBERS):
        rest = source.read(_BLOCK)
        if not rest:
            return
        if any(rest):
            raise source.refuse("data follow its last member")
    raise source.refuse("its padding is too long")
