"""What may lie in a model bundle, as a folder and as an archive: everything else is refused before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import DataError, ResourceError
from nnbox.files import digest_file
from nnbox.records.codec import parse_record, read_record
from nnbox.records.json_text import parse_json
from nnbox.records.results import BundleManifest
from nnbox.submission.soundness import CONFIGURATIONS
from nnbox.submission.tarball import read_tar_gz

MANIFEST = "manifest.json"
PLAN = "plan.json"
SELECTION = "selection.json"
HANDOVER = "handover.json"
WEIGHTS = re.compile(rf"weights/({'|'.join(CONFIGURATIONS)})/fold_(0|[1-9]\d{{0,2}})\.safetensors")
_IGNORED = re.compile(r"(.*/)?(\._[^/]*|\.DS_Store)")
_MAX_JSON_BYTES = 64 << 20


def manifest_of(folder: Path) -> BundleManifest:
    """Read a folder's manifest and compare its list of files with the folder, links refused."""
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: it has no {MANIFEST}; expected a bundle folder made by nnbox")
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise DataError(f"{entry}: a link or device in a model folder is refused; copy the file itself there")
        if entry.suffix == ".json" and (size := entry.stat().st_size) > _MAX_JSON_BYTES:
            raise DataError(
                f"{entry}: refused, {size:,} bytes; a bundle's records are smaller than {_MAX_JSON_BYTES:,}"
            )
    manifest = read_record(folder / MANIFEST, BundleManifest)
    _check_names(folder, names_in(folder), manifest)
    return manifest


def names_in(folder: Path) -> tuple[str, ...]:
    """Return the files below a bundle folder, relative to it, sorted."""
    names = (entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file())
    return tuple(sorted(name for name in names if not _IGNORED.fullmatch(name)))


def _check_names(where: Path, found: Collection[str], manifest: BundleManifest) -> None:
    for name in manifest.files:
        if not _is_known(name):
            raise DataError(f"{where}: refused, the manifest lists {name!r}, which no bundle holds")
        if name not in found:
            raise DataError(f"{where}: {name} is missing; copy the whole bundle again")
    for name in (PLAN, SELECTION):
        if name not in manifest.files:
            raise DataError(f"{where}: refused, the manifest does not list {name}")
    for name in found:
        if name != MANIFEST and name not in manifest.files:
            raise DataError(f"{where}: refused, it holds {name!r}, which its manifest does not list")


def _is_known(name: str) -> bool:
    return name in {PLAN, SELECTION, HANDOVER} or WEIGHTS.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an archive or a folder holds, before any of it is used.

    Attributes:
        manifest: its table of contents, which agrees with all files.
        records: the bytes of its JSON files by name.
        total_bytes: of all files, unpacked.
    """

    manifest: BundleManifest
    records: Mapping[str, bytes]
    total_bytes: int


def survey(archive: Path) -> Contents:
    """Read an archive through without writing anything, and compare every digest."""
    digests: dict[str, str] = {}
    records: dict[str, bytes] = {}
    total = 0
    for member in read_tar_gz(archive):
        if _IGNORED.fullmatch(member.name):
            continue
        if member.name in digests or not (member.name == MANIFEST or _is_known(member.name)):
            word = "twice" if member.name in digests else "which no bundle holds"
            raise DataError(f"{archive}: refused, it holds {member.name!r} {word}; nothing was extracted")
        if member.name.endswith(".json") and member.size_bytes > _MAX_JSON_BYTES:
            raise DataError(f"{archive}: refused, {member.name} claims {member.size_bytes:,} bytes")
        digest = hashlib.sha256()
        kept = []
        for part in member.content:
            digest.update(part)
            if member.name.endswith(".json"):
                kept.append(part)
        if kept:
            records[member.name] = b"".join(kept)
        digests[member.name] = digest.hexdigest()
        total += member.size_bytes
    manifest = _parse_manifest(archive, records.get(MANIFEST, b""))
    _check_names(archive, digests.keys(), manifest)
    for name, digest_found in digests.items():
        if name != MANIFEST and digest_found != manifest.files[name]:
            raise DataError(f"{archive}: refused, {name} does not have its manifest's digest; nothing was extracted")
    return Contents(manifest=manifest, records=records, total_bytes=total)


def _parse_manifest(archive: Path, text: bytes) -> BundleManifest:
    if not text:
        raise DataError(f"{archive}: refused, it has no {MANIFEST}; expected a bundle made by nnbox")
    document = parse_json(text, f"{archive}: its {MANIFEST}", finite=True)
    return parse_record(document, BundleManifest, where=f"{archive}: {MANIFEST}")


def unpack(archive: Path, scratch: Path, contents: Contents) -> Path:
    """Unpack an archive that was surveyed into a new folder below the scratch folder; return that folder."""
    manifest, total = contents.manifest, contents.total_bytes
    scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if total > free:
        raise ResourceError(f"{scratch}: {free:,} bytes are free, unpacking {archive} needs {total:,}")
    folder = Path(tempfile.mkdtemp(prefix="model-", dir=scratch))
    with _removed_on_error(folder):
        for member in read_tar_gz(archive):
            if _IGNORED.fullmatch(member.name):
                continue
            if member.name not in {MANIFEST, *manifest.files}:
                raise DataError(f"{archive}: changed while it was read")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                stream.writelines(member.content)
        for name, digest in manifest.files.items():
            if digest_file(folder / name) != digest:
                raise DataError(f"{archive}: changed while it was read")
    return folder


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
