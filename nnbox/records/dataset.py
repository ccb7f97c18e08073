"""What lies under ``--input``, read in place: channels, labels, cases and the choices a user made about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nnbox.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One input channel; ``is_ct`` when its name is the whole word CT, in any case. Source: 2018 §2.2."""

    name: str
    is_ct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One foreground label as the data set numbers it; inside nnbox labels are 1..K in ascending order of value."""

    value: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case: image files (one multi-channel file, or one per channel) and a label file, relative to the root.

    Attributes:
        name: unique within the data set; output files are named ``name`` + ending.
        images: paths relative to the data set's root, in channel order.
        label: path of the reference label map, or None.
        patient: the patient's id where known, else None (the case is its own patient).
        output_name: file name of a prediction for this case (the image's own name, without a channel suffix).
    """

    name: str
    images: tuple[str, ...]
    label: str | None
    output_name: str
    patient: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user accepted or decided about the data; part of the data-set record and of the plan.

    Attributes:
        channels: channel names given on the command line (``--channels``), or None.
        excluded: cases left out (``--exclude``).
        trust_image_grid: take the image's grid where the label's header disagrees (``--trust-image-grid``).
        replace_nonfinite: replace non-finite voxels by 0 (``--replace-nonfinite``).
        mirror_axes: axes that may be mirrored, in source order, subset of ("z", "y", "x"); None = all.
    """

    channels: tuple[str, ...] | None = None
    excluded: tuple[str, ...] = ()
    trust_image_grid: bool = False
    replace_nonfinite: bool = False
    mirror_axes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A data set as found: nothing is renamed, converted or copied.

    Attributes:
        task: name of the task (``Task04_Hippocampus``): the folder's name.
        layout: the layout it was recognised as.
        dimension: 2 or 3.
        channels: in file order.
        labels: foreground labels, ascending value; background is always value 0.
        cases: labelled training cases, sorted by name; patients in `Case.patient`.
        test_cases: unlabelled cases, sorted by name.
        folds: ready folds (``--splits``): the validation case names of each fold, or None to derive them.
        choices: what the user decided.
        warnings: findings that did not stop the run.
    """

    RECORD: ClassVar[str] = "dataset"
    VERSION: ClassVar[int] = 1

    task: str
    layout: str
    dimension: int
    channels: tuple[Channel, ...]
    labels: tuple[Label, ...]
    cases: tuple[Case, ...]
    test_cases: tuple[Case, ...]
    folds: tuple[tuple[str, ...], ...] | None
    choices: Choices
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What a file was when its digest was computed; an equal size and time mean that the digest still holds."""

    size_bytes: int
    modified_ns: int
    sha256: str


def state_of(path: Path, sha256: str) -> FileState:
    """Return the state of a file whose digest is known."""
    found = path.stat()
    return FileState(size_bytes=found.st_size, modified_ns=found.st_mtime_ns, sha256=sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputDigests:
    """Digest of every input file.

    Attributes:
        files: the state of each, by path relative to the data set's root.
        companions: the data files of each header that holds no voxels itself (``.mhd``, detached ``.nrrd``), by the
            header's path; records written before they were told apart have none.
    """

    RECORD: ClassVar[str] = "input_digests"
    VERSION: ClassVar[int] = 1

    files: Mapping[str, FileState]
    companions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def with_data(self, name: str) -> tuple[str, ...]:
        """Return an image or label file and the files that hold its voxels, where those are others."""
        return (name, *self.companions.get(name, ()))

    def states(self, root: Path, names: Iterable[str]) -> dict[Path, FileState]:
        """Return what the named files and their data files were; ``root`` is the data set's."""
        return {root / file: self.files[file] for name in names for file in self.with_data(name)}


def all_digests(parts: Iterable[InputDigests]) -> InputDigests:
    """Put the digests of cases together, sorted by path."""
    files: dict[str, FileState] = {}
    companions: dict[str, tuple[str, ...]] = {}
    for part in parts:
        files |= part.files
        companions |= part.companions
    return InputDigests(files=dict(sorted(files.items())), companions=dict(sorted(companions.items())))
