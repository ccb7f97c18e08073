"""The model bundle: one folder, and one ``.tar.gz`` of it, with all that predicting needs besides images.

::

    manifest.json                                the table of contents: SHA-256 of every other file, versions
    plan.json                                    the plan, with channels, labels and choices
    selection.json                               the chosen candidate, its folds, its post-processing
    handover.json                                only after `nnbox handover`: the platform's slugs and label values
    weights/<configuration>/fold_<k>.safetensors

A bundle may come from a stranger: it holds JSON and safetensors only, and is refused as a whole, before anything is
extracted, when anything about it is unexpected.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import DataError, IncompleteOutputError, ResourceError
from nnbox.files import atomic_path, digest_file, flush_to_disk
from nnbox.records.codec import parse_record, read_record, write_record
from nnbox.records.handover import Handover, handover_defects
from nnbox.records.json_text import parse_json
from nnbox.records.plan import Plan
from nnbox.records.results import BundleManifest, Selection
from nnbox.submission.soundness import CONFIGURATIONS, defects
from nnbox.submission.tarball import read_tar_gz
from nnbox.submission.versions import running_versions

MANIFEST = "manifest.json"
_PLAN = "plan.json"
_SELECTION = "selection.json"
_HANDOVER = "handover.json"
_WEIGHTS = re.compile(rf"weights/({'|'.join(CONFIGURATIONS)})/fold_(0|[1-9]\d{{0,2}})\.safetensors")
_IGNORED = re.compile(r"(.*/)?(\._[^/]*|\.DS_Store)")
_MAX_JSON_BYTES = 64 << 20
# Weights hardly shrink; the fastest level takes a quarter of the time of the default.
_DEFLATE_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBundle:
    """A model that was checked and can be used.

    Attributes:
        folder: where it lies unpacked.
        manifest, plan, selection: its records.
        weights: the safetensors file of each (configuration, fold).
        handover: the platform's slugs and label values, or None where it was not handed over.
    """

    folder: Path
    manifest: BundleManifest
    plan: Plan
    selection: Selection
    weights: Mapping[tuple[str, int], Path]
    handover: Handover | None = None


def write_bundle(
    folder: Path,
    plan: Plan,
    selection: Selection,
    weights: Mapping[tuple[str, int], Path],
    *,
    handover: Handover | None = None,
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write a bundle folder; it appears whole under its name or not at all, and replaces an earlier one.

    Args:
        folder: of the bundle.
        plan: of the task.
        selection: what is used for test cases.
        weights: the safetensors file of each (configuration, fold) the selection needs.
        handover: the platform's slugs and label values, if any.
        versions: of what made the model; None: of what runs now.

    Raises:
        IncompleteOutputError: plan, selection and weights do not fit together.
    """
    if found := (*defects(plan, selection, weights.keys()), *handover_defects(plan, handover)):
        raise IncompleteOutputError("the model cannot be bundled: " + "; ".join(found))
    folder.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    building, replaced = (folder.with_name(f".{word}-{token}-{folder.name}") for word in ("part", "old"))
    try:
        for (configuration, fold), source in weights.items():
            _link_or_copy(source, building / weights_name(configuration, fold))
        write_record(building / _PLAN, plan)
        write_record(building / _SELECTION, selection)
        if handover is not None:
            write_record(building / _HANDOVER, handover)
        files = {name: digest_file(building / name) for name in _names(building)}
        made_by = running_versions() if versions is None else versions
        manifest = BundleManifest(task=plan.task, recipe=plan.recipe, versions=made_by, files=files)
        write_record(building / MANIFEST, manifest)
        if folder.exists():
            folder.rename(replaced)
        building.rename(folder)
        flush_to_disk(folder.parent)
    finally:
        for leftover in (building, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def weights_name(configuration: str, fold: int) -> str:
    """Return where a bundle keeps the weights of one fold, relative to its folder."""
    return f"weights/{configuration}/fold_{fold}.safetensors"


def pack_bundle(folder: Path, archive: Path) -> None:
    """Pack a bundle folder into one ``.tar.gz``, atomically; equal folders give equal bytes. It is read back at once.

    Raises:
        DataError: the folder is not a whole bundle.
        IncompleteOutputError: what was written does not read back.
    """
    manifest = _manifest_of(folder)
    with atomic_path(archive) as temporary:
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile(filename="", mode="wb", compresslevel=_DEFLATE_LEVEL, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name in sorted((MANIFEST, *manifest.files)):
                entry = tarfile.TarInfo(name)
                entry.size = (folder / name).stat().st_size
                entry.mode = 0o644
                with (folder / name).open("rb") as stream:
                    tar.addfile(entry, stream)
        try:
            _survey(temporary)
        except DataError as error:
            raise IncompleteOutputError(f"{archive}: does not read back after writing ({error})") from None


def open_bundle(path: Path, scratch: Path) -> ModelBundle:
    """Open a bundle folder or ``.tar.gz`` after checking all of it.

    Args:
        path: the folder or the archive.
        scratch: an archive is unpacked into a new folder below it.

    Raises:
        DataError: it is missing, no bundle, incomplete, damaged, or holds anything that a bundle does not.
        RecordError: a record is of another version or has fields that do not fit.
        ResourceError: the scratch folder's disk is too small.
    """
    if path.is_dir():
        manifest = _manifest_of(path)
        for name, digest in manifest.files.items():
            if digest_file(path / name) != digest:
                raise DataError(f"{path / name}: its digest is not the manifest's; the file was changed or damaged")
        return _load(path, manifest)
    if not path.is_file():
        raise DataError(f"{path}: no such model; expected a bundle folder or its .tar.gz")
    return _load(*_unpack(path, scratch))


def _load(folder: Path, manifest: BundleManifest) -> ModelBundle:
    plan, selection = read_record(folder / _PLAN, Plan), read_record(folder / _SELECTION, Selection)
    weights = {
        (match[1], int(match[2])): folder / name for name in manifest.files if (match := _WEIGHTS.fullmatch(name))
    }
    handover = read_record(folder / _HANDOVER, Handover) if _HANDOVER in manifest.files else None
    found = [*defects(plan, selection, weights), *handover_defects(plan, handover)]
    if (manifest.task, manifest.recipe) != (plan.task, plan.recipe):
        found.insert(0, f"its manifest is for {manifest.task!r} ({manifest.recipe}), its plan for {plan.task!r}")
    if found:
        raise DataError(f"{folder}: the model cannot be used: " + "; ".join(found[:8]))
    return ModelBundle(
        folder=folder, manifest=manifest, plan=plan, selection=selection, weights=weights, handover=handover
    )


def _manifest_of(folder: Path) -> BundleManifest:
    """Read a folder's manifest and compare its list of files with the folder, links refused."""
    if not (folder / MANIFEST).is_file():
        raise DataError(f"{folder}: it has no {MANIFEST}; expected a bundle folder made by nnbox")
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise DataError(f"{entry}: a link or device in a model folder is refused; copy the file itself there")
    manifest = read_record(folder / MANIFEST, BundleManifest)
    _check_names(folder, _names(folder), manifest)
    return manifest


def _names(folder: Path) -> tuple[str, ...]:
    names = (entry.relative_to(folder).as_posix() for entry in folder.rglob("*") if entry.is_file())
    return tuple(sorted(name for name in names if not _IGNORED.fullmatch(name)))


def _check_names(where: Path, found: Collection[str], manifest: BundleManifest) -> None:
    for name in manifest.files:
        if not _is_known(name):
            raise DataError(f"{where}: refused, the manifest lists {name!r}, which no bundle holds")
        if name not in found:
            raise DataError(f"{where}: {name} is missing; copy the whole bundle again")
    for name in (_PLAN, _SELECTION):
        if name not in manifest.files:
            raise DataError(f"{where}: refused, the manifest does not list {name}")
    for name in found:
        if name != MANIFEST and name not in manifest.files:
            raise DataError(f"{where}: refused, it holds {name!r}, which its manifest does not list")


def _is_known(name: str) -> bool:
    return name in {_PLAN, _SELECTION, _HANDOVER} or _WEIGHTS.fullmatch(name) is not None


def _survey(archive: Path) -> tuple[BundleManifest, int]:
    """Read an archive through without writing anything: its manifest, every digest compared, and its size in bytes."""
    digests: dict[str, str] = {}
    text, total = b"", 0
    for member in read_tar_gz(archive):
        if _IGNORED.fullmatch(member.name):
            continue
        if member.name in digests or not (member.name == MANIFEST or _is_known(member.name)):
            word = "twice" if member.name in digests else "which no bundle holds"
            raise DataError(f"{archive}: refused, it holds {member.name!r} {word}; nothing was extracted")
        if member.name.endswith(".json") and member.size_bytes > _MAX_JSON_BYTES:
            raise DataError(f"{archive}: refused, {member.name} claims {member.size_bytes:,} bytes")
        digest = hashlib.sha256()
        for part in member.content:
            digest.update(part)
            text += part if member.name == MANIFEST else b""
        digests[member.name] = digest.hexdigest()
        total += member.size_bytes
    manifest = _parse_manifest(archive, text)
    _check_names(archive, digests.keys(), manifest)
    for name, digest_found in digests.items():
        if name != MANIFEST and digest_found != manifest.files[name]:
            raise DataError(f"{archive}: refused, {name} does not have its manifest's digest; nothing was extracted")
    return manifest, total


def _parse_manifest(archive: Path, text: bytes) -> BundleManifest:
    if not text:
        raise DataError(f"{archive}: refused, it has no {MANIFEST}; expected a bundle made by nnbox")
    document = parse_json(text, f"{archive}: its {MANIFEST}", finite=True)
    return parse_record(document, BundleManifest, where=f"{archive}: {MANIFEST}")


def _unpack(archive: Path, scratch: Path) -> tuple[Path, BundleManifest]:
    manifest, total = _survey(archive)
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
    return folder, manifest


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _link_or_copy(source: Path, target: Path) -> None:
    """Share a finished weights file's bytes where the file system allows; such files are never changed in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        flush_to_disk(target)
