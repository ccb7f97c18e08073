"""Class probabilities on disk, small: the form in which cross-validation hands them to selection.

**Format.** A ``.npz`` file with one array ``foreground``: uint8 (classes - 1, z, y, x) on the crop grid in working
order, deflated. A probability p is stored as round(255 p); the background is what is missing to 255 and is not stored.
It is a plain NumPy archive without objects: ``numpy.load(path, allow_pickle=False)["foreground"]`` reads it.

**Cost.** A stored probability is off by at most 1/510, the background by at most (classes - 1)/510; only voxels whose
two best classes are about that close can change. Measured on pairs of maps with four classes and boundaries some voxels
wide: 0.035 % of the voxels get another label than from float32 maps, and the Dice between the two outcomes is 0.9996 on
average and 0.999 at the least. A test keeps this (``tests/inference/test_probabilities.py``).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.files import atomic_path

_LEVELS = 255
_MEMBER = "foreground"
# Deflate's fastest level: maps are mostly runs of 0 and 255, where higher levels gain little for much more time.
_DEFLATE_LEVEL = 1


def store_probabilities(path: Path, probabilities: NDArray[np.float32]) -> None:
    """Write class probabilities quantised to 8 bits, atomically (see the module for the format and its cost).

    Source: own

    Args:
        path: ends in ``.npz``.
        probabilities: float32 (classes, z, y, x), summing to 1 over the classes.
    """
    foreground = np.empty((len(probabilities) - 1, *probabilities.shape[1:]), dtype=np.uint8)
    for index, probability in enumerate(probabilities[1:]):
        np.rint(np.clip(probability, 0, 1) * np.float32(_LEVELS), out=foreground[index], casting="unsafe")
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as archive,
        archive.open(f"{_MEMBER}.npy", "w", force_zip64=True) as stream,
    ):
        np.lib.format.write_array(stream, foreground, allow_pickle=False)


def load_probabilities(path: Path) -> NDArray[np.float32]:
    """Read what `store_probabilities` wrote: float32 (classes, z, y, x), summing to 1 up to rounding.

    Raises:
        DataError: the file is missing, damaged, or not of this format.
    """
    foreground = _load_foreground(path)
    probabilities = np.empty((len(foreground) + 1, *foreground.shape[1:]), dtype=np.float32)
    rest = np.full(foreground.shape[1:], _LEVELS, dtype=np.int32)
    for index, stored in enumerate(foreground):
        rest -= stored
        np.divide(stored, np.float32(_LEVELS), out=probabilities[index + 1])
    np.divide(np.maximum(rest, 0), np.float32(_LEVELS), out=probabilities[0], casting="unsafe")
    return probabilities


def average_probabilities(members: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of class probabilities on one grid, each member counting the same.

    Source: 2018 §2.6; 2019 §2.3

    Args:
        members: at least one, all float32 of one shape (classes, z, y, x).

    Raises:
        ValueError: no members, or shapes differ.
    """
    shapes = {member.shape for member in members}
    if len(shapes) != 1:
        raise ValueError(f"cannot average probabilities of shapes {sorted(shapes)}")
    if len(members) == 1:
        return members[0]
    mean = members[0].copy()
    for member in members[1:]:
        mean += member
    mean /= np.float32(len(members))
    return mean


def _load_foreground(path: Path) -> NDArray[np.uint8]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_MEMBER}.npy") as stream:
            foreground = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: stored probabilities cannot be read ({error}); predict this case again") from None
    if foreground.dtype != np.uint8 or foreground.ndim != 4:
        raise DataError(f"{path}: expected uint8 (labels, z, y, x), found {foreground.dtype} {foreground.shape}")
    return np.asarray(foreground)
