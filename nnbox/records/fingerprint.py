"""The data fingerprint: what the planning rules see of a data set. Source: 2018 §2.2, 2019 §2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from nnbox.geometry import Shape3, Spacing3
from nnbox.records.dataset import Channel, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFingerprint:
    """One training case, in source axis order.

    Attributes:
        name: the case.
        source_shape_vox: (z, y, x) of the file.
        shape_vox: (z, y, x) after cropping to the non-zero region.
        spacing_mm: (z, y, x), rounded to 6 significant digits.
        crop_ratio: voxels after / before cropping, in (0, 1].
        label_voxels: voxels of each foreground label, in the order of the labels.
        components: number of connected components of each label (26-connected; 8 in 2D), 0 where absent.
    """

    name: str
    source_shape_vox: Shape3
    shape_vox: Shape3
    spacing_mm: Spacing3
    crop_ratio: float
    label_voxels: tuple[int, ...]
    components: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Foreground intensity statistics of one channel over all training cases at original resolution."""

    mean: float
    sd: float
    percentile_00_5: float
    percentile_99_5: float
    minimum: float
    maximum: float
    voxels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The fingerprint of a data set.

    Attributes:
        task: name of the task.
        dimension: 2 or 3.
        channels: in file order.
        labels: foreground labels, ascending.
        cases: sorted by name.
        intensities: one per channel; None for a geometry-only fingerprint (such a plan cannot be trained).
    """

    RECORD: ClassVar[str] = "fingerprint"
    VERSION: ClassVar[int] = 1

    task: str
    dimension: int
    channels: tuple[Channel, ...]
    labels: tuple[Label, ...]
    cases: tuple[CaseFingerprint, ...]
    intensities: tuple[Intensity, ...] | None
