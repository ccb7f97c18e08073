"""Files that are either whole or absent: atomic writes, and digests that name a content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnbox.faults import reached

PART = ".part-"
"""How the names of files and folders begin that are not whole yet."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it into place.

    The temporary name keeps the suffixes of ``path``, since writers choose the format by them. On any error the
    temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{PART}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        flush_to_disk(temporary)
        reached("before rename", path)
        temporary.replace(path)
        reached("after rename", path)
        flush_to_disk(path.parent)
    except OSError as error:
        _name(error, path)
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


@contextlib.contextmanager
def atomic_paths(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield temporary paths for several files; on success flush all to disk, then rename all, in order.

    Each file is whole or absent, as with `atomic_path`, and the last one is there only when all are. For that they last
    when the power fails, the caller flushes their folders, once for many files; till then they may be absent again.
    """
    for folder in dict.fromkeys(path.parent for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporaries = tuple(path.with_name(f"{PART}{token}-{path.name}") for path in paths)
    try:
        yield temporaries
        for temporary in temporaries:
            flush_to_disk(temporary)
        for temporary, path in zip(temporaries, paths, strict=True):
            reached("before rename", path)
            temporary.replace(path)
            reached("after rename", path)
    except OSError as error:
        _name(error, paths[0])
        raise
    finally:
        for temporary in temporaries:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()


def _name(error: OSError, path: Path) -> None:
    """Tell which file it is about where the system does not: a write that fails knows only a number."""
    if error.filename is None:
        error.filename = str(path)


def replace_folder(new: Path, folder: Path) -> None:
    """Give a finished folder its name; one that has it already is moved aside first, and removed last.

    For a moment there is none of that name; killed just then, the old one is left under a temporary name.
    """
    aside = folder.with_name(f"{PART}{secrets.token_hex(4)}-{folder.name}")
    reached("before rename", folder)
    if folder.exists():
        folder.rename(aside)
        reached("between two names", folder)
    new.rename(folder)
    reached("after rename", folder)
    flush_to_disk(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, atomically; a copy where the file system has no hard links.

    Of the folder's entry the same holds as with `atomic_paths`.
    """
    temporary = target.with_name(f"{PART}{secrets.token_hex(4)}-{target.name}")
    try:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)
            flush_to_disk(temporary)
        reached("before rename", target)
        temporary.replace(target)
    finally:
        # Renaming a name of a file to another of its names does nothing, and leaves both.
        temporary.unlink(missing_ok=True)


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


def forget_cached(path: Path) -> None:
    """Put a file on disk and drop what memory holds of it, so that it is next read from there.

    A request: file systems that live in memory, or do not know it, read what they have.
    """
    flush_to_disk(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
