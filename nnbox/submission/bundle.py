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

import gzip
import os
import secrets
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nnbox.errors import DataError, IncompleteOutputError, RecordError
from nnbox.files import PART, atomic_path, digest_file, flush_to_disk, forget_cached, replace_folder
from nnbox.records.codec import Versioned, parse_record, write_record
from nnbox.records.handover import Handover, handover_defects
from nnbox.records.json_text import parse_json
from nnbox.records.plan import Plan
from nnbox.records.results import BundleManifest, Selection
from nnbox.submission.contents import (
    HANDOVER,
    MANIFEST,
    PLAN,
    SELECTION,
    WEIGHTS,
    manifest_of,
    names_in,
    survey,
    unpack,
)
from nnbox.submission.soundness import defects
from nnbox.submission.versions import running_versions

# Weights hardly shrink; the fastest level takes a quarter of the time of the default.
_DEFLATE_LEVEL = 1
_Record = TypeVar("_Record", bound=Versioned)
_REMEDY = "get the model anew from where it was made, or name another with --model"


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
    building = folder.with_name(f"{PART}{secrets.token_hex(4)}-{folder.name}")
    try:
        for (configuration, fold), source in weights.items():
            _link_or_copy(source, building / weights_name(configuration, fold))
        write_record(building / PLAN, plan)
        write_record(building / SELECTION, selection)
        if handover is not None:
            write_record(building / HANDOVER, handover)
        files = {name: digest_file(building / name) for name in names_in(building)}
        made_by = running_versions() if versions is None else versions
        manifest = BundleManifest(task=plan.task, recipe=plan.recipe, versions=made_by, files=files)
        write_record(building / MANIFEST, manifest)
        replace_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def weights_name(configuration: str, fold: int) -> str:
    """Return where a bundle keeps the weights of one fold, relative to its folder."""
    return f"weights/{configuration}/fold_{fold}.safetensors"


def pack_bundle(folder: Path, archive: Path) -> None:
    """Pack a bundle folder into one ``.tar.gz``, atomically; equal folders give equal bytes. It is read back at once.

    Raises:
        DataError: the folder is not a whole bundle.
        IncompleteOutputError: what was written does not read back.
    """
    manifest = manifest_of(folder)
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
        forget_cached(temporary)
        try:
            survey(temporary)
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
    try:
        return _open(path, scratch)
    except (DataError, RecordError) as error:
        raise type(error)(f"{str(error).removesuffix('.')}. What to do: {_REMEDY}.") from None


def _open(path: Path, scratch: Path) -> ModelBundle:
    if path.is_dir():
        manifest = manifest_of(path)
        for name, digest in manifest.files.items():
            if digest_file(path / name) != digest:
                raise DataError(f"{path / name}: its digest is not the manifest's; the file was changed or damaged")
        texts = {name: (path / name).read_bytes() for name in manifest.files if name.endswith(".json")}
        return _checked(path, manifest, texts)
    if not path.is_file():
        raise DataError(f"{path}: no such model; expected a bundle folder or its .tar.gz")
    contents = survey(path)
    checked = _checked(path, contents.manifest, contents.records)  # before anything is extracted
    folder = unpack(path, scratch, contents)
    weights = {key: folder / weights_name(*key) for key in checked.weights}
    return replace(checked, folder=folder, weights=weights)


def _checked(where: Path, manifest: BundleManifest, texts: Mapping[str, bytes]) -> ModelBundle:
    """Read the records of a folder or an archive, and see that they fit each other and what can be done."""

    def record(name: str, kind: type[_Record]) -> _Record:
        return parse_record(
            parse_json(texts.get(name, b""), f"{where}: {name}", finite=True), kind, where=f"{where}: {name}"
        )

    plan, selection = record(PLAN, Plan), record(SELECTION, Selection)
    weights = {(match[1], int(match[2])): where / name for name in manifest.files if (match := WEIGHTS.fullmatch(name))}
    handover = record(HANDOVER, Handover) if HANDOVER in manifest.files else None
    found = [*defects(plan, selection, weights), *handover_defects(plan, handover)]
    if (manifest.task, manifest.recipe) != (plan.task, plan.recipe):
        found.insert(0, f"its manifest is for {manifest.task!r} ({manifest.recipe}), its plan for {plan.task!r}")
    if found:
        raise DataError(f"{where}: the model cannot be used: " + "; ".join(found[:8]))
    return ModelBundle(
        folder=where, manifest=manifest, plan=plan, selection=selection, weights=weights, handover=handover
    )


def _link_or_copy(source: Path, target: Path) -> None:
    """Share a finished weights file's bytes where the file system allows; such files are never changed in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        flush_to_disk(target)
