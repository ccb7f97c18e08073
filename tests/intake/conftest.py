"""A small data set, written in whatever layout a test wants."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import take_in

TASK = "Task99_Toy"
LABELS = {2: "label_2", 5: "label_5"}
SPACING_XYZ = (0.7, 0.8, 2.5)


def toy_case(index, channels):
    """Return image float32 (channel, z, y, x) with a zero border and labels uint8 (z, y, x)."""
    rng = np.random.default_rng(index)
    shape = (5 + index % 2, 9, 11 + index % 3)
    image = np.zeros((channels, *shape), np.float32)
    image[:, 1:, 1:-1, 2:] = rng.integers(1, 200, image[:, 1:, 1:-1, 2:].shape)
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 2:5, 3:6] = 2
    labels[3:, 5:7, 7:9] = 5
    return image, labels


def save(path, array, *, spacing=SPACING_XYZ, origin=(1.0, 2.0, 3.0), direction=None):
    """Write (z, y, x), or (channel, z, y, x) as a 4D file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dimension = array.ndim
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing((*spacing, 1.0)[:dimension])
    image.SetOrigin((*origin, 0.0)[:dimension])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path), useCompression=path.suffix != ".nii")


@dataclass
class Toy:
    """A writer of one data set: ``count`` labelled cases and one unlabelled one."""

    root: Path
    count: int = 5
    channels: tuple[str, ...] = ("T1",)
    labels: dict = field(default_factory=lambda: dict(LABELS))
    ending: str = ".nii.gz"

    def names(self):
        return [f"toy_{chr(97 + index)}" for index in range(self.count)]

    def image(self, name):
        return self.root / "imagesTr" / f"{name}{self.ending}"

    def label(self, name):
        return self.root / "labelsTr" / f"{name}{self.ending}"

    def write_images(self, *, split):
        for index, name in enumerate([*self.names(), "toy_z"]):
            image, labels = toy_case(index, len(self.channels))
            folder = self.root / ("imagesTs" if name == "toy_z" else "imagesTr")
            if split:
                for channel, values in enumerate(image):
                    save(folder / f"{name}_{channel:04d}{self.ending}", values)
            else:
                save(folder / f"{name}{self.ending}", image if len(image) > 1 else image[0])
            if name != "toy_z":
                save(self.label(name), labels)

    def describe(self, **document):
        (self.root / "dataset.json").write_text(json.dumps(document))

    def listed(self, **changes):
        names = self.names()
        document = {
            "name": "toy",
            "modality": {str(index): name for index, name in enumerate(self.channels)},
            "labels": {"0": "background", **{str(value): name for value, name in self.labels.items()}},
            "numTraining": len(names),
            "numTest": 1,
            "training": [
                {"image": f"./imagesTr/{n}{self.ending}", "label": f"./labelsTr/{n}{self.ending}"} for n in names
            ],
            "test": [f"./imagesTs/toy_z{self.ending}"],
        }
        self.describe(**{**document, **changes})

    def decathlon(self, **changes):
        self.write_images(split=False)
        self.listed(**changes)
        return self

    def nnunet_v1(self):
        self.write_images(split=True)
        self.listed()
        return self

    def nnunet_v2(self):
        self.write_images(split=True)
        self.describe(
            channel_names={str(index): name for index, name in enumerate(self.channels)},
            labels={"background": 0, **{name: value for value, name in self.labels.items()}},
            numTraining=self.count,
            file_ending=self.ending,
        )
        return self

    def bare(self, *, split=False):
        self.write_images(split=split)
        return self

    def take_in(self, workers=1, purpose="train", known=None, **options):
        return take_in(self.root, IntakeOptions(**options), workers=workers, purpose=purpose, known=known)


@pytest.fixture
def toy(tmp_path):
    """A data set not yet written; one channel, five cases."""
    return Toy(tmp_path / TASK)


@pytest.fixture
def make_toy(tmp_path):
    """Make a data set in a folder of its own."""

    def make(place, **fields):
        return Toy(tmp_path / place / TASK, **fields)

    return make
