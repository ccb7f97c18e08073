"""A data set of three labelled cases and one unlabelled one, small enough to write for every row of the table."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

CASES = ("alpha", "beta", "gamma")
BAD = "beta"
TEST = "omega"
SHAPE = (6, 10, 12)
SPACING_XYZ = (0.8, 0.9, 2.0)
PICTURES = (".png", ".tif", ".bmp")


def image_values(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return int16 values (z, y, x) between 1 and 200."""
    return np.random.default_rng(seed).integers(1, 200, shape).astype(np.int16)


def label_values(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return uint8 labels 0, 1 and 2 (z, y, x)."""
    labels = np.zeros(shape, np.uint8)
    depth = max(1, shape[0] // 2)
    labels[:depth, : shape[1] // 2, : shape[2] // 2] = 1
    labels[-depth:, shape[1] // 2 :, shape[2] // 2 :] = 2
    return labels


def save(path: Path, values: np.ndarray, *, spacing=SPACING_XYZ, origin=(1.0, 2.0, 3.0), direction=None) -> None:
    """Write (z, y, x), or a picture where the ending says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in PICTURES:
        values = values[0].astype(np.uint8) if values.ndim == 3 else values
        spacing, origin = (1.0, 1.0), (0.0, 0.0)
    image = sitk.GetImageFromArray(values, isVector=path.suffix in PICTURES and values.ndim == 3)
    dimension = image.GetDimension()
    image.SetSpacing((*spacing, 1.0)[:dimension])
    image.SetOrigin((*origin, 0.0)[:dimension])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path), useCompression=path.suffix not in {".nii", ".bmp", ".mhd"})


@dataclass
class SmallSet:
    """Where the data set of one row lies, and how it is written.

    Attributes:
        place: the row's own folder; the data set is ``data`` in it.
        layout: decathlon, nnunet_v1, nnunet_v2, bare or flat.
        ending: of every file.
        cases: names of the labelled cases.
        shape: (z, y, x) of every volume; pictures have one slice.
        document: what ``dataset.json`` says beside or instead of the usual.
    """

    place: Path
    layout: str = "decathlon"
    ending: str = ".nii.gz"
    cases: tuple[str, ...] = CASES
    shape: tuple[int, int, int] = SHAPE
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.place / "data"

    @property
    def by_channel(self) -> bool:
        return self.layout in {"nnunet_v1", "nnunet_v2"}

    def image(self, name: str = BAD) -> Path:
        suffix = "_0000" if self.by_channel else ""
        folder = "." if self.layout == "flat" else "imagesTs" if name == TEST else "imagesTr"
        return self.root / folder / f"{name}{suffix}{self.ending}"

    def label(self, name: str = BAD) -> Path:
        return self.root / "labelsTr" / f"{name}{self.ending}"

    @property
    def json(self) -> Path:
        return self.root / "dataset.json"

    def write(self) -> None:
        shape = (1, 24, 28) if self.ending in PICTURES else self.shape
        for index, name in enumerate(self.cases if self.layout != "flat" else (BAD, TEST)):
            save(self.image(name), image_values(index, shape))
            if self.layout != "flat":
                save(self.label(name), label_values(shape))
        if self.layout != "flat":
            save(self.image(TEST), image_values(99, shape))
        if self.layout in {"decathlon", "nnunet_v1", "nnunet_v2"}:
            self.describe(**self.document)

    def describe(self, **changes: Any) -> None:
        self.json.write_text(json.dumps({**self.usual(), **changes}))

    def usual(self) -> dict[str, Any]:
        if self.layout == "nnunet_v2":
            return {
                "channel_names": {"0": "MRI"},
                "labels": {"background": 0, "one": 1, "two": 2},
                "numTraining": len(self.cases),
                "file_ending": self.ending,
            }
        end = self.ending
        return {
            "name": "Small",
            "modality": {"0": "MRI"},
            "labels": {"0": "background", "1": "one", "2": "two"},
            "numTraining": len(self.cases),
            "numTest": 1,
            "training": [{"image": f"./imagesTr/{n}{end}", "label": f"./labelsTr/{n}{end}"} for n in self.cases],
            "test": [f"./imagesTs/{TEST}{end}"],
        }


Spoil = Callable[[SmallSet], None]


def unpacked(path: Path) -> bytearray:
    content = path.read_bytes()
    return bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


def patch(path: Path, fields: Mapping[int, tuple[str, tuple[float, ...]]]) -> None:
    """Overwrite numbers of a NIfTI header: byte offset to (struct format, values)."""
    content = unpacked(path)
    for offset, (form, values) in fields.items():
        struct.pack_into(f"<{form}", content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content), 1) if path.suffix == ".gz" else bytes(content))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray] | None = None, **placement: Any) -> None:
    """Write a file again with changed values or another placement."""
    old = sitk.ReadImage(str(path))
    values = sitk.GetArrayFromImage(old)
    kept = {"spacing": old.GetSpacing(), "origin": old.GetOrigin(), "direction": old.GetDirection()}
    save(path, values if change is None else change(values), **{**kept, **placement})


def replaced(path: Path, old: bytes, new: bytes) -> None:
    """Change text of a MetaImage or NRRD header."""
    content = path.read_bytes()
    assert old in content, (path, old)
    path.write_bytes(content.replace(old, new, 1))
