"""Writing a synthetic data set as the Medical Segmentation Decathlon lays one out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import UsageError
from nnbox.files import atomic_write_text
from nnbox.geometry import Shape3, Spacing3
from nnbox.randomness import generator
from nnbox.synthesize.anatomy import Anatomy, draw_anatomy, draw_image
from nnbox.synthesize.files import write_picture, write_volume
from nnbox.synthesize.presets import PRESETS, Preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesized:
    """Where a synthetic data set lies.

    Attributes:
        folder: the data set, for ``--input``.
        references: beside it, the label maps of the test images (``labelsTs``), which nobody under ``folder`` sees.
    """

    folder: Path
    references: Path


def synthesize(folder: Path, preset: Preset | str = "smoke", seed: int = 0) -> Synthesized:
    """Write a small data set in Decathlon layout; equal arguments give equal bytes.

    Args:
        folder: must not exist or be empty; its name is the task's name.
        preset: a kind of data set, or its name: ``smoke``, ``ct``, ``2d`` or ``permuted``.
        seed: of all random draws, >= 0.

    Raises:
        UsageError: no such preset, or something lies where the data set would go.
    """
    kind = _find_preset(preset)
    references = folder.with_name(f"{folder.name}-references")
    for place in (folder, references):
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"{place} is not empty; choose a new folder")
    training = [f"{kind.stem}_{number:03d}" for number in range(1, kind.training_cases + 1)]
    test = [f"{kind.stem}_{kind.training_cases + number:03d}" for number in range(1, kind.test_cases + 1)]
    for index, name in enumerate([*training, *test]):
        labelled = index < len(training)
        image, labels, spacing_mm = draw_case(kind, index, seed)
        _write_image(folder / ("imagesTr" if labelled else "imagesTs") / f"{name}{kind.ending}", image, spacing_mm)
        target = folder / "labelsTr" if labelled else references / "labelsTs"
        _write_image(target / f"{name}{kind.ending}", labels[np.newaxis], spacing_mm)
    description = _describe(folder.resolve().name, kind, training, test)
    atomic_write_text(folder / "dataset.json", json.dumps(description, indent=1) + "\n")
    return Synthesized(folder=folder, references=references)


def draw_case(preset: Preset, index: int, seed: int) -> tuple[NDArray[np.int16], NDArray[np.uint8], Spacing3]:
    """Draw one case; the test cases follow the training cases.

    Returns:
        Image int16 (channel, z, y, x), original label values uint8 (z, y, x), and the spacing (z, y, x) in mm.
    """
    grid = _draw_grid(generator(seed, "synthesize/grid", index), preset)
    anatomy = _anatomy_of(preset, index, seed, grid)
    image = draw_image(generator(seed, "synthesize/image", index), preset, anatomy, grid)
    if preset.permuted and index < preset.training_cases:
        anatomy = _anatomy_of(preset, (index + 1) % preset.training_cases, seed, grid)
    values = np.array([0, *preset.label_values], dtype=np.uint8)
    return image, values[anatomy.labels(*grid)], grid[1]


def _anatomy_of(preset: Preset, index: int, seed: int, grid: tuple[Shape3, Spacing3]) -> Anatomy:
    return draw_anatomy(generator(seed, "synthesize/anatomy", index), preset, *grid)


def _draw_grid(rng: np.random.Generator, preset: Preset) -> tuple[Shape3, Spacing3]:
    nz, ny, nx = (int(rng.integers(low, high, endpoint=True)) for low, high in preset.shape_vox)
    dz, dy, dx = (round(float(rng.uniform(low, high)), 2) for low, high in preset.spacing_mm)
    return (nz, ny, nx), (dz, dy, dx)


def _find_preset(preset: Preset | str) -> Preset:
    if isinstance(preset, Preset):
        return preset
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: expected one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def _write_image(path: Path, image: NDArray[np.generic], spacing_mm: Spacing3) -> None:
    if path.suffix == ".png":
        write_picture(path, image[:, 0].astype(np.uint8))
    else:
        write_volume(path, image[0], spacing_mm)


def _describe(task: str, preset: Preset, training: list[str], test: list[str]) -> dict[str, object]:
    """Return the content of ``dataset.json``, with the keys the Decathlon uses."""
    first, second = (str(value) for value in preset.label_values)
    return {
        "name": task,
        "description": f"synthetic data, preset {preset.name}",
        "tensorImageSize": f"{preset.dimension}D",
        "modality": {str(index): name for index, name in enumerate(preset.modalities)},
        "labels": {"0": "background", first: "bright", second: "dark"},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [
            {"image": f"./imagesTr/{name}{preset.ending}", "label": f"./labelsTr/{name}{preset.ending}"}
            for name in training
        ],
        "test": [f"./imagesTs/{name}{preset.ending}" for name in test],
    }
