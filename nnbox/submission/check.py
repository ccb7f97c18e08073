"""Checking a result archive against the test images: every defect named with its case and the rule it breaks."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from pathlib import Path

import numpy as np

from nnbox.errors import DataError, Problem, Severity
from nnbox.geometry import Grid
from nnbox.imaging.integrity import FindingKind, file_findings
from nnbox.imaging.io import read_header, read_labels
from nnbox.submission.expected import ExpectedCase

_SPACING_TOLERANCE_VOX = 1e-4
_ORIGIN_TOLERANCE_VOX = 1e-4
_DIRECTION_TOLERANCE = 1e-5
# Half a step of float32, in which NIfTI stores origins: far from the scanner's centre it is more than the tolerance.
_FLOAT32_STEP = 2.0**-23
_BYTES_PER_VOXEL = 8
_HEADER_BYTES = 1 << 20
_CHUNK = 1 << 20


class Rule(StrEnum):
    """What a result archive can break. Source: RULES §11."""

    UNREADABLE_ZIP = "unreadable zip"
    MISSING = "missing case"
    EXTRA = "extra file"
    DUPLICATE = "duplicate case"
    WRONG_FOLDER = "wrong folder"
    NESTED_ZIP = "nested zip"
    TRUNCATED = "truncated or damaged file"
    SIZE = "size"
    SPACING = "spacing"
    ORIGIN = "origin"
    DIRECTION = "direction"
    FLOAT = "float type"
    LABEL = "unknown label"


def check_submission(
    archive: Path,
    expected: Sequence[ExpectedCase],
    may_be_absent: AbstractSet[tuple[str, str]] = frozenset(),
    scratch: Path | None = None,
) -> tuple[Problem, ...]:
    """Return every defect of a result archive; empty when it can be uploaded.

    Source: RULES §11

    Args:
        archive: the zip.
        expected: every test case of every task.
        may_be_absent: (task, case) pairs that need not be there; see `cases_that_may_be_absent`.
        scratch: folder for one unpacked file at a time; None: the system's.
    """
    try:
        with zipfile.ZipFile(archive) as opened, tempfile.TemporaryDirectory(dir=scratch) as folder:
            return tuple(_check(opened, expected, may_be_absent, Path(folder)))
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        what = f"the archive cannot be read ({error})"
        return (_problem(Rule.UNREADABLE_ZIP, what, "one whole zip file", file=archive.name),)


def _check(
    archive: zipfile.ZipFile,
    expected: Sequence[ExpectedCase],
    may_be_absent: AbstractSet[tuple[str, str]],
    scratch: Path,
) -> Iterator[Problem]:
    by_path = {f"{case.task}/{case.output_name}": case for case in expected}
    by_name: dict[str, list[ExpectedCase]] = {}
    for case in expected:
        by_name.setdefault(case.output_name, []).append(case)
    present: dict[str, int] = {}
    strays: list[zipfile.ZipInfo] = []
    found: set[ExpectedCase] = set()
    for member in archive.infolist():
        if case_here := by_path.get(member.filename):
            present[member.filename] = present.get(member.filename, 0) + 1
            found.add(case_here)
            yield from _check_member(archive, member, case_here, scratch)
        elif not (member.is_dir() and member.filename.rstrip("/") in {case.task for case in expected}):
            strays.append(member)
    for path, count in present.items():
        if count > 1:
            what = f"it is {count} times in the archive"
            yield _problem(Rule.DUPLICATE, what, "each case once", case=by_path[path].name, file=path)
    for member in strays:
        yield from _check_stray(archive, member, by_name, found, scratch)
    for case in expected:
        if case not in found and (case.task, case.name) not in may_be_absent:
            what = f"{case.task}/{case.output_name} is not in the archive"
            remedy = "predict this case and write the archive again, or list it in --exclude-from-submission"
            yield _problem(Rule.MISSING, what, "every test case", case=case.name, remedy=remedy)


def _check_stray(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    by_name: Mapping[str, Sequence[ExpectedCase]],
    found: set[ExpectedCase],
    scratch: Path,
) -> Iterator[Problem]:
    """Say what a file is that is at no expected path; one in the wrong folder counts as found."""
    path = member.filename
    if not member.is_dir() and _is_zip(archive, member):
        yield _problem(Rule.NESTED_ZIP, "it is a zip inside the archive", "the files themselves", file=path)
        return
    cases = by_name.get(path.replace("\\", "/").rsplit("/", 1)[-1], ())
    waiting = [case for case in cases if case not in found]
    if not cases:
        kind = "an empty folder" if member.is_dir() else "no test case"
        yield _problem(Rule.EXTRA, f"it is {kind}", "predictions of test cases only", file=path)
    elif not waiting:
        what = "this case is in its own folder already"
        yield _problem(Rule.DUPLICATE, what, "each case once", case=cases[0].name, file=path)
    else:
        case = waiting[0]
        found.add(case)
        wanted = f"{case.task}/{case.output_name}"
        yield _problem(Rule.WRONG_FOLDER, f"it lies at {path!r}", wanted, case=case.name, file=path)
        yield from _check_member(archive, member, case, scratch)


def _is_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    if member.filename.lower().endswith(".zip"):
        return True
    try:
        with archive.open(member) as stream:
            return stream.read(4) == b"PK\x03\x04"
    except (zipfile.BadZipFile, OSError, RuntimeError, zlib.error, EOFError):
        return False


def _check_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, case: ExpectedCase, scratch: Path
) -> Iterator[Problem]:
    voxels = int(np.prod(case.grid.shape_vox, dtype=np.int64))
    if member.file_size > voxels * _BYTES_PER_VOXEL + _HEADER_BYTES:
        what, limit = f"it unpacks to {member.file_size:,} bytes", f"{case.grid.shape_vox} (z, y, x) voxels"
        yield _problem(Rule.SIZE, what, limit, case=case.name, file=member.filename)
        return
    unpacked = scratch / case.output_name
    try:
        _unpack(archive, member, unpacked)
        yield from (_at(member, case, rule, what, expected) for rule, what, expected in _defects(unpacked, case))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
        yield _at(member, case, Rule.TRUNCATED, f"it cannot be unpacked ({error})", "a whole file")
    finally:
        unpacked.unlink(missing_ok=True)


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    with archive.open(member) as source, target.open("wb") as sink:
        while part := source.read(_CHUNK):
            sink.write(part)


def _defects(file: Path, case: ExpectedCase) -> Iterator[tuple[Rule, str, str]]:
    """Yield the rules that one label map breaks, with what was found and what was expected."""
    damages = [finding for finding in file_findings(file) if finding.kind is FindingKind.DAMAGED]
    if damages:
        yield Rule.TRUNCATED, "; ".join(damage.what for damage in damages), damages[0].expected
        return
    try:
        header = read_header(file)
        yield from _grid_defects(header.grid, case.grid)
        if header.pixel_type.startswith("float"):
            yield Rule.FLOAT, f"its voxels are {header.pixel_type}", "an integer type"
            return
        if header.channels != 1:
            yield Rule.SIZE, f"it has {header.channels} numbers per voxel", "one label per voxel"
            return
        if header.grid.shape_vox == case.grid.shape_vox:
            labels, _ = read_labels(file)
            allowed = {0, *case.label_values}
            if unknown := sorted(set(np.unique(labels).tolist()) - allowed):
                yield Rule.LABEL, f"it holds the label values {unknown[:8]}", f"only {sorted(allowed)}"
    except DataError as error:
        yield Rule.TRUNCATED, f"it cannot be read ({error})", "a whole label map"


def _grid_defects(found: Grid, wanted: Grid) -> Iterator[tuple[Rule, str, str]]:
    if (found.dimension, found.shape_vox) != (wanted.dimension, wanted.shape_vox):
        yield Rule.SIZE, f"its size is {found.shape_vox} (z, y, x), {found.dimension}D", f"{wanted.shape_vox}"
        return
    pairs = zip(found.spacing_mm, wanted.spacing_mm, strict=True)
    if any(abs(here - there) > _SPACING_TOLERANCE_VOX * there for here, there in pairs):
        yield Rule.SPACING, f"its spacing is {found.spacing_mm} mm (z, y, x)", f"{wanted.spacing_mm}"
    tolerance_mm = _ORIGIN_TOLERANCE_VOX * min(wanted.spacing_mm)
    if any(
        abs(here - there) > max(tolerance_mm, abs(there) * _FLOAT32_STEP)
        for here, there in zip(found.origin_xyz_mm, wanted.origin_xyz_mm, strict=True)
    ):
        yield Rule.ORIGIN, f"its origin is {found.origin_xyz_mm} mm (x, y, z)", f"{wanted.origin_xyz_mm}"
    cosines = zip(found.direction_xyz, wanted.direction_xyz, strict=True)
    if any(abs(here - there) > _DIRECTION_TOLERANCE for here, there in cosines):
        yield Rule.DIRECTION, f"its direction cosines are {found.direction_xyz}", f"{wanted.direction_xyz}"


def _at(member: zipfile.ZipInfo, case: ExpectedCase, rule: Rule, what: str, expected: str) -> Problem:
    return _problem(rule, what, expected, case=case.name, file=member.filename)


def _problem(
    rule: Rule,
    what: str,
    expected: str,
    *,
    case: str | None = None,
    file: str | None = None,
    remedy: str = "write the archive again with nnbox predict",
) -> Problem:
    return Problem(
        severity=Severity.ERROR, what=f"{rule}: {what}", expected=expected, remedy=remedy, case=case, file=file
    )
