"""The isal door: a file's bytes in pieces, unpacked where they are compressed.

isal reads zlib's formats, twice as fast (docs/decisions/0003).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

PIECE_BYTES = 1 << 22
"""No piece is larger, compressed or not."""
MOST_EXPANSION = 1032
"""Deflate cannot make more bytes of one."""
_GZIP = b"\x1f\x8b"
_ANY_WRAPPER = 47  # zlib's and gzip's, told apart by the first byte


class DamagedError(Exception):
    """The compressed bytes are not whole; the message says how."""


def unpacked(
    path: Path, *, start: int = 0, compressed: bool = False, digest: hashlib._Hash | None = None
) -> Iterator[bytes]:
    """Yield the file's bytes from ``start`` on in pieces, unpacked if they are gzip (or zlib, with ``compressed``).

    Bytes after the last gzip member are let go.

    Args:
        path: the file.
        start: first byte.
        compressed: unpack whatever the first bytes are.
        digest: is fed the stored bytes as they are read; after the last piece, all of them.

    Raises:
        DamagedError: the compressed stream ends early or its checksum is wrong.
        OSError: the file cannot be read.
    """
    blocks = _blocks(path, start, digest)
    block = next(blocks, b"")
    if not compressed and block[:2] != _GZIP:
        while block:
            yield block
            block = next(blocks, b"")
        return
    unpacker = isal_zlib.decompressobj(wbits=_ANY_WRAPPER)
    while block:
        try:
            yield unpacker.decompress(block, PIECE_BYTES)
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub says that this is no class
            raise DamagedError(f"its compressed data is damaged ({_reason(error)})") from None
        block = unpacker.unconsumed_tail
        if unpacker.eof:
            block = unpacker.unused_data
            if len(block) < len(_GZIP):
                block += next(blocks, b"")
            if block[:2] != _GZIP:  # the rest is no further gzip member: padding
                for _ in blocks:
                    pass
                return
            unpacker = isal_zlib.decompressobj(wbits=_ANY_WRAPPER)
        block = block or next(blocks, b"")
    while piece := unpacker.decompress(b"", PIECE_BYTES):  # what the size limit above held back
        yield piece
    if not unpacker.eof:
        raise DamagedError("its compressed data ends early (truncated)")


def _blocks(path: Path, start: int, digest: hashlib._Hash | None) -> Iterator[bytes]:
    with path.open("rb") as stream:
        stream.seek(start)
        while block := stream.read(PIECE_BYTES):
            if digest is not None:
                digest.update(block)
            yield block


def _reason(error: Exception) -> str:
    return str(error).removeprefix("Error ").lstrip("-0123456789 ").lower() or type(error).__name__
