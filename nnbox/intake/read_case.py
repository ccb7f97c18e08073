"""Read one case once: are its files whole, do they fit together, and what do they add to the fingerprint?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import Problem, Severity
from nnbox.faults import reached
from nnbox.geometry import Grid
from nnbox.imaging.as_taken import require_as_taken
from nnbox.imaging.counts import FineCounts
from nnbox.imaging.examine import examine, file_state
from nnbox.imaging.header import FindingKind, ImageHeader, ImageReadError, refused
from nnbox.imaging.integrity import companion_files, file_findings
from nnbox.imaging.io import as_image, as_labels, read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.statistics import case_fingerprint, foreground_counts, foreground_fine_counts
from nnbox.intake.facts import CaseFacts, CaseReading, CaseTask, SecondTask
from nnbox.intake.grids import GRID_TOLERANCE_VOX, corner_displacement_vox, describe, orientation
from nnbox.records.dataset import FileState, InputDigests
from nnbox.records.endings import PICTURE_ENDINGS, image_ending


def read_case(task: CaseTask) -> CaseReading:
    """Read a case's files; whatever goes wrong is a finding of the case, never an exception."""
    reached("reading", task.case.name)
    try:
        return _Reader(task).read()
    except Exception as failure:
        # A case must not end the intake of the others, and its reader sees files nobody has checked.
        reason = str(failure).splitlines()[0][:200] if str(failure) else ""
        what = f"it cannot be read ({type(failure).__name__}{': ' if reason else ''}{reason})"
        remedy = f"replace its files, or leave it out with --exclude {task.case.name}"
        problem = Problem(
            severity=Severity.ERROR,
            what=what,
            expected="readable files",
            remedy=remedy,
            case=task.case.name,
            file=task.case.images[0],
        )
        return CaseReading(name=task.case.name, problems=(problem,))


def label_values(task: CaseTask) -> tuple[int, ...]:
    """Return the distinct values of a case's label map; none if it cannot be read, which `read_case` reports."""
    if task.case.label is None:
        return ()
    path = Path(task.root) / task.case.label
    try:
        if any(finding.kind is FindingKind.DAMAGED for finding in file_findings(path)):
            return ()
        labels, _ = read_labels(path)
    except Exception:
        return ()
    return tuple(int(value) for value in np.unique(labels))


def count_again(task: SecondTask) -> FineCounts:
    """Count a labelled case's intensities in bins; the case was read before and found whole.

    Raises:
        ImageReadError: that is no longer so.
        DataError: a file was changed since.
    """
    root, case = Path(task.case.root), task.case.case
    image, _ = read_image([root / file for file in case.images], replace_nonfinite=task.case.replace_nonfinite)
    if case.label is None:
        raise ValueError(f"case {case.name} has no labels")
    labels, _ = read_labels(root / case.label)
    require_as_taken(task.taken)
    return foreground_fine_counts(image, labels, task.bins)


class _Reader:
    """The findings of one case while it is read."""

    def __init__(self, task: CaseTask) -> None:
        self._task = task
        self._root = Path(task.root)
        self._problems: list[Problem] = []
        # Their digests first: what changes while the voxels are read then differs at the next reading.
        self._companions = {file: self._data_files(file) for file in _files(task)}
        self._files = {file: examine(self._root / file, task.known.get(file)) for file in _files(task)}

    def read(self) -> CaseReading:
        case = self._task.case
        unusable = {file for file in self._files if not self._is_whole(file)}
        headers = self._headers()
        facts = fingerprint = foreground = None
        if headers is not None:
            fits = self._check_channels(headers)
            grid = headers[0].grid
            image = self._image() if fits and unusable.isdisjoint(case.images) else None
            labels = None if case.label is None or case.label in unusable else self._labels(case.label, grid)
            if image is not None:
                facts = self._facts(headers, image, labels)
            if image is not None and labels is not None:
                count = len(self._task.labels or ())
                fingerprint = case_fingerprint(case.name, image, labels, grid, count)
                foreground = foreground_counts(image, labels)
        return CaseReading(
            name=case.name,
            problems=tuple(self._problems),
            facts=facts,
            fingerprint=fingerprint,
            foreground=foreground,
            digests=self._digests(),
        )

    def _error(self, what: str, expected: str, remedy: str, file: str) -> None:
        name = self._task.case.name
        remedy = remedy.replace("--exclude its case", f"--exclude {name}")
        remedy = remedy.replace("--exclude the case", f"--exclude {name}")
        if "--exclude" not in remedy:
            remedy = f"{remedy}, or leave the case out with --exclude {name}"
        self._problems.append(
            Problem(severity=Severity.ERROR, what=what, expected=expected, remedy=remedy, case=name, file=file)
        )

    def _refuse(self, failure: ImageReadError, file: str) -> None:
        self._error(failure.what, failure.expected, failure.remedy, file)

    def _is_whole(self, file: str) -> bool:
        """Report what the stored bytes show; False if the file must not be read."""
        whole = True
        for finding in self._files[file].findings:
            is_label = file == self._task.case.label
            if finding.kind is FindingKind.NONFINITE and self._task.replace_nonfinite and not is_label:
                continue
            remedy = "correct the label map" if is_label and finding.kind is FindingKind.NONFINITE else finding.remedy
            self._error(finding.what, finding.expected, remedy, file)
            whole = False
        return whole

    def _headers(self) -> list[ImageHeader] | None:
        """Return the headers of the image files, or None if one cannot be read."""
        headers = []
        for file in self._task.case.images:
            found = self._files[file]
            if found.header is not None:
                headers.append(found.header)
            elif found.refusal is not None and not any(problem.file == file for problem in self._problems):
                self._refuse(found.refusal, file)
        return headers if len(headers) == len(self._task.case.images) else None

    def _values(self, file: str) -> NDArray[np.generic]:
        """Return the voxels of a file.

        Raises:
            ImageReadError: they could not be read.
        """
        found = self._files[file]
        if found.values is None:
            raise found.refusal or refused(found.path, "it cannot be read", "a whole file")
        return found.values

    def _check_channels(self, headers: list[ImageHeader]) -> bool:
        """Report a wrong number of channels, and channel files that do not lie on one grid."""
        before = len(self._problems)
        files, expected = self._task.case.images, self._task.channels
        found = sum(header.channels for header in headers)
        if len(files) > 1:
            for file, header in zip(files, headers, strict=True):
                if header.channels != 1:
                    what = f"the channel file itself holds {header.channels} channels"
                    self._error(what, "one channel in each of several files", "split the file", file)
        if expected is not None and found != expected and len(self._problems) == before:
            source = self._task.channels_from
            remedy = f"correct the file, or {source} where that is wrong"
            self._error(f"it has {found} channel(s)", f"{expected} channel(s), as {source} says", remedy, files[0])
        for file, header in zip(files[1:], headers[1:], strict=True):
            self._compare(header.grid, file, headers[0].grid, f"the channel {files[0]}")
        return len(self._problems) == before

    def _compare(self, grid: Grid, file: str, reference: Grid, owner: str) -> bool:
        """Report a file whose size or placement is not the reference's."""
        if grid.shape_vox != reference.shape_vox or (
            grid.dimension != reference.dimension and not self._is_picture_pair(file)
        ):
            what = f"its size is {grid.shape_vox} voxels (z, y, x; {grid.dimension}D)"
            expected = f"{reference.shape_vox} ({reference.dimension}D) as in {owner}"
            self._error(what, expected, "make it again on the image's grid", file)
            return False
        if self._task.trust_image_grid or self._is_picture_pair(file):
            return True
        moved = corner_displacement_vox(reference, grid)
        if moved > GRID_TOLERANCE_VOX:
            what = f"its header moves the image's corners by {moved:.3g} voxels: {describe(grid)}"
            expected = f"at most {GRID_TOLERANCE_VOX} voxels from {owner}: {describe(reference)}"
            remedy = "take the image's grid with --trust-image-grid if the voxels do match, correct the header"
            self._error(what, expected, remedy, file)
            return False
        return True

    def _is_picture_pair(self, file: str) -> bool:
        """Return whether the file or the first image is a picture, whose file format states no placement."""
        return any(image_ending(name) in PICTURE_ENDINGS for name in (file, self._task.case.images[0]))

    def _image(self) -> NDArray[np.float32] | None:
        files = self._task.case.images
        try:
            volumes = [self._values(file) for file in files]
            paths = [self._root / file for file in files]
            image = as_image(paths, volumes, replace_nonfinite=self._task.replace_nonfinite)
        except ImageReadError as failure:
            self._refuse(failure, _relative(failure.path, self._root, files[0]))
            return None
        bad = int(image.size - np.count_nonzero(np.isfinite(image)))
        if bad:
            remedy = "accept 0 in their place with --replace-nonfinite"
            self._error(f"{bad} voxel(s) are NaN or infinite", "finite numbers", remedy, files[0])
            return None
        return image

    def _labels(self, file: str, grid: Grid) -> NDArray[np.int32] | None:
        """Return the label map with consecutive labels, or None if it does not fit."""
        try:
            values = as_labels(self._root / file, self._values(file))
        except ImageReadError as failure:
            self._refuse(failure, file)
            return None
        image, header = self._task.case.images[0], self._files[file].header
        # The header of a damaged image says nothing about the label.
        fits = self._files[image].is_damaged or (
            header is not None and self._compare(header.grid, file, grid, f"its image {image}")
        )
        if self._task.labels is None:
            return None
        allowed = [0, *(label.value for label in self._task.labels)]
        present, counts = np.unique(values, return_counts=True)
        unknown = [
            (int(value), int(count)) for value, count in zip(present, counts, strict=True) if value not in allowed
        ]
        if unknown:
            shown = ", ".join(f"{value} ({count} voxels)" for value, count in unknown[:5])
            more = f" and {len(unknown) - 5} more values" if len(unknown) > 5 else ""
            what = f"unknown label value {shown}{more}"
            remedy = "correct the label map, or name the value under labels in dataset.json"
            self._error(what, f"only {', '.join(map(str, allowed))}", remedy, file)
        if unknown or not fits:
            return None
        return to_consecutive(values, self._task.labels).astype(np.int32)

    def _facts(
        self, headers: list[ImageHeader], image: NDArray[np.float32], labels: NDArray[np.int32] | None
    ) -> CaseFacts:
        grid = headers[0].grid
        count = len(self._task.labels or ())
        voxels = () if labels is None else np.bincount(labels.reshape(-1), minlength=count + 1)[1 : count + 1]
        return CaseFacts(
            name=self._task.case.name,
            labelled=self._task.case.label is not None,
            dimension=grid.dimension,
            shape_vox=grid.shape_vox,
            spacing_mm=grid.spacing_mm,
            orientation=orientation(grid),
            channels=len(image),
            pixel_type=headers[0].pixel_type,
            minimum=tuple(float(channel.min()) for channel in image),
            maximum=tuple(float(channel.max()) for channel in image),
            label_voxels=tuple(int(number) for number in voxels),
            size_bytes=sum((self._root / file).stat().st_size for file in self._files),
        )

    def _data_files(self, file: str) -> dict[str, FileState]:
        """Return the files that hold a header's voxels."""
        found = {}
        for path in companion_files(self._root / file):
            name = f"{file.rpartition('/')[0]}/{path.name}".lstrip("/")
            found[name] = file_state(path, self._task.known.get(name))
        return found

    def _digests(self) -> InputDigests:
        files = {file: examined.state for file, examined in self._files.items() if examined.state is not None}
        for data in self._companions.values():
            files |= data
        return InputDigests(
            files=files, companions={file: tuple(data) for file, data in self._companions.items() if data}
        )


def _files(task: CaseTask) -> tuple[str, ...]:
    return (*task.case.images, *(() if task.case.label is None else (task.case.label,)))


def _relative(path: Path, root: Path, otherwise: str) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else otherwise
