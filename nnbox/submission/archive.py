"""Writing the result archive: one zip, a folder per task, each file named as its test image."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnbox.errors import IncompleteOutputError
from nnbox.files import atomic_path, digest_file, forget_cached

_DATE = (1980, 1, 1, 0, 0, 0)
_PACKED = (".gz", ".png")


def write_submission(archive: Path, tasks: Mapping[str, Sequence[Path]]) -> None:
    """Write a result archive, atomically, and read it back; equal files give equal bytes.

    Source: RULES §11

    Args:
        archive: ends in ``.zip``.
        tasks: per task, the name of its folder in the archive, the prediction files; they keep their names.

    Raises:
        IncompleteOutputError: nothing to write, a file is missing, two files of a task share a name, or what was
            written does not read back.
    """
    sources = _sources(archive, tasks)
    with atomic_path(archive) as temporary:
        with zipfile.ZipFile(temporary, "w") as target:
            for name, source in sources.items():
                entry = zipfile.ZipInfo(name, date_time=_DATE)
                entry.create_system = 3
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_STORED if name.endswith(_PACKED) else zipfile.ZIP_DEFLATED
                entry.file_size = source.stat().st_size
                with source.open("rb") as content, target.open(entry, "w") as member:
                    shutil.copyfileobj(content, member, 1 << 20)
        forget_cached(temporary)
        _read_back(archive, temporary, sources)


def _sources(archive: Path, tasks: Mapping[str, Sequence[Path]]) -> dict[str, Path]:
    sources: dict[str, Path] = {}
    for task in sorted(tasks):
        for source in sorted(tasks[task], key=lambda path: path.name):
            name = f"{task}/{source.name}"
            if name in sources:
                raise IncompleteOutputError(f"{archive}: {source} and {sources[name]} would both be {name}")
            if not source.is_file():
                raise IncompleteOutputError(f"{archive}: the prediction {source} is missing; run predict again")
            sources[name] = source
    if not sources:
        raise IncompleteOutputError(f"{archive}: there are no predictions to submit")
    return sources


def _read_back(archive: Path, written: Path, sources: Mapping[str, Path]) -> None:
    try:
        with zipfile.ZipFile(written) as target:
            if target.namelist() != list(sources):
                raise IncompleteOutputError(f"{archive}: its list of files does not read back")
            for name, source in sources.items():
                if target.read(name) != source.read_bytes():
                    raise IncompleteOutputError(f"{archive}: {name} does not read back as {digest_file(source)}")
    except (OSError, zipfile.BadZipFile) as error:
        raise IncompleteOutputError(f"{archive}: does not read back after writing ({error})") from None
