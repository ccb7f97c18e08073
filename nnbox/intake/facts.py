"""What reading a case's files tells, and what the whole intake returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnbox.errors import DataError, Problem, Severity
from nnbox.geometry import Shape3, Spacing3
from nnbox.imaging.counts import Bins, CaseCounts
from nnbox.records.dataset import Case, Dataset, FileState, InputDigests, Label
from nnbox.records.fingerprint import CaseFingerprint, Intensity


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What was found in one case that could be read.

    Attributes:
        name: the case.
        labelled: whether it is a training case.
        dimension: 2 or 3.
        shape_vox: (z, y, x) of the file.
        spacing_mm: (z, y, x) of the file.
        orientation: the anatomical direction in which each array axis (z, y, x) runs, e.g. ``"SPL"``; the letters are
            L/R, P/A, S/I for the end the index grows towards.
        channels: number of channels.
        pixel_type: stored type of the first image file.
        minimum, maximum: of each channel's finite voxels.
        label_voxels: voxels of each foreground label in order, empty without a label map.
        size_bytes: of all its files.
    """

    name: str
    labelled: bool
    dimension: int
    shape_vox: Shape3
    spacing_mm: Spacing3
    orientation: str
    channels: int
    pixel_type: str
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    label_voxels: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTask:
    """One case to read.

    Attributes:
        root: the data set's folder.
        case: the case.
        labels: foreground labels; None where ``dataset.json`` should name them but does not: values are not checked.
        channels: the channel count where it is known.
        channels_from: where that count is stated, in words.
        trust_image_grid, replace_nonfinite: see `nnbox.intake.options.IntakeOptions`.
        known: digests of an earlier run, by path relative to the root.
    """

    root: str
    case: Case
    labels: tuple[Label, ...] | None
    channels: int | None
    channels_from: str
    trust_image_grid: bool
    replace_nonfinite: bool
    known: dict[str, FileState]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondTask:
    """One labelled case to read a second time.

    Attributes:
        case: the case.
        bins: those of each channel to look into.
        taken: what each of its files was at the first reading.
    """

    case: CaseTask
    bins: tuple[Bins, ...]
    taken: Mapping[Path, FileState]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseReading:
    """What one case gave: findings, and as far as it could be read, facts and its part of the fingerprint."""

    name: str
    problems: tuple[Problem, ...] = ()
    facts: CaseFacts | None = None
    fingerprint: CaseFingerprint | None = None
    foreground: CaseCounts | None = None
    digests: InputDigests = field(default_factory=lambda: InputDigests(files={}))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntakeResult:
    """A data set after every check.

    Attributes:
        task: name of the task.
        found: what was found, as far as it is known; with errors not fit for use.
        dataset: the record, or None when a problem is an error.
        problems: every finding, errors first.
        digests: of every image and label file.
        facts: of every case that could be read, training cases first, sorted by name.
        fingerprints: of every training case that is whole, sorted by name.
        intensities: of each channel over their foreground; None with errors, or where there is no foreground.
    """

    task: str
    found: Dataset
    dataset: Dataset | None
    problems: tuple[Problem, ...]
    digests: InputDigests
    facts: tuple[CaseFacts, ...]
    fingerprints: tuple[CaseFingerprint, ...]
    intensities: tuple[Intensity, ...] | None

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The findings that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    def require_dataset(self) -> Dataset:
        """Return the record.

        Raises:
            DataError: there are errors; the message lists them all.
        """
        if self.dataset is None:
            count = len(self.errors)
            raise DataError(f"{self.task}: {count} error{'' if count == 1 else 's'} in the data set", self.errors)
        return self.dataset
