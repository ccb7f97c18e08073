"""What kinds of synthetic data set there are, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A kind of synthetic data set: two attached structures at random places in noise.

    Attributes:
        name: on the command line.
        stem: cases are called ``<stem>_001`` and so on.
        modalities: channel names; several are the channels of one RGB picture (2D only).
        dimension: 2 or 3.
        training_cases, test_cases: how many.
        shape_vox: per axis (z, y, x) the smallest and largest size; 2D has z = 1.
        spacing_mm: per axis (z, y, x) the smallest and largest spacing; 2D has 1.0.
        label_values: of the two structures, as in ``dataset.json``; not consecutive, so that mapping is exercised.
        radius_mm: per structure the range of half its thickness.
        length_mm: per structure the range of its length.
        distractor_mm: range of the radius of a ball as bright as the first structure that belongs to no label.
        distractor_share: share of cases that have one.
        background, structures: mean intensity outside and of the two structures (for pictures: of the first channel).
        texture: sd of the smooth variation of the background.
        noise: sd of the noise of each voxel.
        bias: relative amplitude of a smooth multiplicative field (MR), 0 for none.
        lowest, highest: stored intensities are clipped to this range.
        ending: of the files; ``.nii.gz`` or ``.png``.
        permuted: training labels are those of other cases on this case's grid: nothing can be learned from them.
    """

    name: str
    stem: str
    modalities: tuple[str, ...]
    dimension: int
    training_cases: int
    test_cases: int
    shape_vox: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    spacing_mm: tuple[Range, Range, Range]
    label_values: tuple[int, int]
    radius_mm: tuple[Range, Range]
    length_mm: tuple[Range, Range]
    distractor_mm: Range
    distractor_share: float
    background: float
    structures: tuple[float, float]
    texture: float
    noise: float
    bias: float
    lowest: int
    highest: int
    ending: str
    permuted: bool = False


SMOKE = Preset(
    name="smoke",
    stem="smoke",
    modalities=("MRI",),
    dimension=3,
    training_cases=20,
    test_cases=6,
    shape_vox=((12, 14), (24, 28), (24, 28)),
    spacing_mm=((1.7, 1.9), (1.0, 1.0), (1.0, 1.0)),
    label_values=(1, 3),
    radius_mm=((3.8, 4.2), (3.8, 4.2)),
    length_mm=((10.0, 17.0), (10.0, 17.0)),
    distractor_mm=(1.6, 2.1),
    distractor_share=0.6,
    background=500.0,
    structures=(850.0, 150.0),
    texture=10.0,
    noise=15.0,
    bias=0.05,
    lowest=0,
    highest=4095,
    ending=".nii.gz",
)
CT = replace(
    SMOKE,
    name="ct",
    stem="scan",
    modalities=("CT",),
    training_cases=10,
    test_cases=3,
    shape_vox=((10, 16), (44, 52), (44, 52)),
    spacing_mm=((4.0, 5.0), (0.8, 0.9), (0.8, 0.9)),
    radius_mm=((6.0, 8.0), (6.0, 8.0)),
    length_mm=((14.0, 24.0), (14.0, 24.0)),
    distractor_mm=(2.5, 3.5),
    background=40.0,
    structures=(160.0, -90.0),
    texture=10.0,
    noise=20.0,
    bias=0.0,
    lowest=-1024,
    highest=3071,
)
PICTURES = replace(
    SMOKE,
    name="2d",
    stem="picture",
    modalities=("red", "green", "blue"),
    dimension=2,
    training_cases=12,
    test_cases=4,
    shape_vox=((1, 1), (48, 64), (48, 64)),
    spacing_mm=((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
    radius_mm=((6.0, 8.0), (6.0, 8.0)),
    length_mm=((18.0, 28.0), (18.0, 28.0)),
    distractor_mm=(2.0, 3.0),
    background=110.0,
    structures=(200.0, 40.0),
    texture=8.0,
    noise=10.0,
    bias=0.08,
    highest=255,
    ending=".png",
)
PERMUTED = replace(SMOKE, name="permuted", permuted=True)
PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in (SMOKE, CT, PICTURES, PERMUTED)}
