"""A made-up input of an algorithm on grand-challenge.org, for the rehearsal of a handover; both forms of it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.files import atomic_write_text
from nnbox.geometry import Grid, Shape3, Spacing3
from nnbox.randomness import generator
from nnbox.records.handover import Handover
from nnbox.records.plan import Normalization, Plan
from nnbox.synthesize.files import write_metaimage, write_tiff

_ORIGINAL = "the-name-of-the-uploaded-file"
# A turn of 30 degrees about the first axis, and an origin off zero: a label map on any other grid is seen to be wrong.
_COSINE, _SINE = 0.8660254038, 0.5
_ORIGIN_MM = (-12.5, 40.25, -7.75)
_BORDER = 8  # the share of an axis on each side that is empty where a model crops to what is not


def made_up_grid(plan: Plan, shape_vox: Shape3, spacing_mm: Spacing3) -> Grid:
    """Return a grid of a size (z, y, x) and spacing that is turned and shifted; 2D where the plan is."""
    if plan.dimension == 2:
        return Grid(
            shape_vox=shape_vox,
            spacing_mm=spacing_mm,
            origin_xyz_mm=_ORIGIN_MM[:2],
            direction_xyz=(1.0, 0.0, 0.0, 1.0),
            dimension=2,
        )
    return Grid(
        shape_vox=shape_vox,
        spacing_mm=spacing_mm,
        origin_xyz_mm=_ORIGIN_MM,
        direction_xyz=(1.0, 0.0, 0.0, 0.0, _COSINE, -_SINE, 0.0, _SINE, _COSINE),
    )


def write_algorithm_input(root: Path, plan: Plan, handover: Handover, grid: Grid, *, listed: bool) -> None:
    """Write the images of one job below a folder, as the platform lays them out.

    Args:
        root: what will be ``/input``.
        plan: of the model: number of channels, dimension, range of the intensities.
        handover: which socket is which channel.
        grid: of every image.
        listed: with ``inputs.json``, as the platform does now; without: the older form, where a 2D model gets ``.tif``.
    """
    image = _intensities(plan, grid)
    parts = [image] if len(handover.input_slugs) == 1 else [channel[np.newaxis] for channel in image]
    entries = []
    for number, (slug, part) in enumerate(zip(handover.input_slugs, parts, strict=True), start=1):
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, slug))
        folder = root / "images" / slug
        if plan.dimension == 2 and not listed:
            write_tiff(folder / f"{name}.tif", part[:, 0].astype(np.uint8))
        else:
            stored = part.astype(np.uint8) if plan.dimension == 2 else part
            write_metaimage(folder / f"{name}.mha", stored, grid)
        entries.append(_entry(number, slug, name))
    if listed:
        atomic_write_text(root / "inputs.json", json.dumps(entries, indent=2) + "\n")


def _entry(number: int, slug: str, name: str) -> dict[str, object]:
    """Return an entry of ``inputs.json`` with the fields the platform writes; ``docs/grand-challenge.md``."""
    socket = {
        "title": slug.replace("-", " "),
        "description": "made up for a rehearsal",
        "slug": slug,
        "kind": "Image",
        "pk": number,
        "default_value": None,
        "super_kind": "Image",
        "relative_path": f"images/{slug}",
        "overlay_segments": [],
        "look_up_table": None,
    }
    image = {"pk": name, "name": f"{_ORIGINAL}.nii.gz"}
    return {"socket": socket, "interface": socket, "value": None, "file": None, "image": image, "pk": number}


def _intensities(plan: Plan, grid: Grid) -> NDArray[np.int16]:
    """Draw smooth noise in the range of each channel, int16 (channel, z, y, x)."""
    rng = generator(0, "handover/image")
    margins = [size // _BORDER for size in grid.shape_vox]
    inner = np.zeros(grid.shape_vox, dtype=bool)
    inner[tuple(slice(margin, size - margin) for margin, size in zip(margins, grid.shape_vox, strict=True))] = True
    channels = []
    for normalization in plan.normalizations:
        mean, sd = _range(normalization, plan.dimension)
        field = ndimage.gaussian_filter(rng.standard_normal(grid.shape_vox, dtype=np.float32), 1.5, mode="wrap")
        values = np.rint(mean + sd * field / (field.std() + 1e-6))
        lowest, highest = (1, 255) if plan.dimension == 2 else (-1024, 3071)
        values = np.clip(values, lowest, highest)
        channels.append(np.where(inner, values, 0).astype(np.int16))
    return np.stack(channels)


def _range(normalization: Normalization, dimension: int) -> tuple[float, float]:
    if normalization.mean is not None and normalization.sd is not None:
        return normalization.mean, normalization.sd
    return (120.0, 40.0) if dimension == 2 else (500.0, 150.0)
