"""Files that are either whole or absent: atomic writes, and digests that name a content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    The temporary name keeps the suffixes of ``path``, since writers choose the format by them. On any error the
    temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_paths(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield temporary paths for several files; on success flush all to disk, then rename all, in order.

    Each file is whole or absent, as with `atomic_path`; the last one is there only when all are. Each folder is flushed
    once.
    """
    folders = tuple(dict.fromkeys(path.parent for path in paths))
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporaries = tuple(path.with_name(f".part-{token}-{path.name}") for path in paths)
    try:
        yield temporaries
        for temporary in temporaries:
            flush_to_disk(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
        for folder in folders:
            flush_to_disk(folder)
    finally:
        for temporary in temporaries:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the file system has no hard links. ``target`` must not exist."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def atomic_write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees the old file or the new one, never a part."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically; see `atomic_write_bytes`."""
    atomic_write_bytes(path, content.encode())


def flush_to_disk(path: Path) -> None:
    """Ask the kernel to put a file or a folder entry on disk (a folder on a file system that refuses is let go)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if path.is_file():
            raise
    finally:
        os.close(descriptor)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
