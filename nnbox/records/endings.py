"""Which file names are images: the endings, and the name of a case inside a file name."""

from __future__ import annotations

PICTURE_ENDINGS = (".png", ".tif", ".tiff", ".bmp")
"""Endings of the picture formats, which hold 2D images without millimetres."""
IMAGE_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", *PICTURE_ENDINGS)
"""File endings that can be read and written."""


def image_ending(name: str) -> str | None:
    """Return the supported ending of a file name in lower case (``".nii.gz"``, not ``".gz"``), or None."""
    lower = name.lower()
    return next((ending for ending in IMAGE_ENDINGS if lower.endswith(ending) and len(lower) > len(ending)), None)


def split_ending(name: str) -> tuple[str, str]:
    """Split a file name into stem and ending as written: ``("case_1", ".nii.gz")``; no image: no ending."""
    ending = image_ending(name)
    return (name[: -len(ending)], name[-len(ending) :]) if ending else (name, "")
