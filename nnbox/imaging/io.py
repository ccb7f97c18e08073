"""Image and label files as arrays (channel, z, y, x) on their `Grid`, and label maps back into files.

The conventions of the formats stand in `nnbox.imaging.itk`. A NIfTI file of plain numbers is unpacked here, which takes
a quarter of the time; SimpleITK still says what its header means, and reads every other file.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import ResourceError
from nnbox.files import atomic_path
from nnbox.geometry import Grid
from nnbox.imaging.header import FindingKind, ImageHeader, ImageReadError, refused, whole_numbers
from nnbox.imaging.integrity import file_findings
from nnbox.imaging.itk import ending_of, header_of, volume_of, write_volume
from nnbox.imaging.stored import Stored, is_nifti, read_stored
from nnbox.records.endings import PICTURE_ENDINGS

__all__ = [
    "ImageHeader",
    "ImageReadError",
    "as_image",
    "as_labels",
    "decoded",
    "read_header",
    "read_image",
    "read_labels",
    "read_volume",
    "write_labels",
]


def read_header(path: Path) -> ImageHeader:
    """Read a file's grid, channel count and pixel type without its voxels.

    Raises:
        ImageReadError: missing, unreadable, not 2D or 3D, RGB in 3D, complex, empty or absurdly large.
    """
    return header_of(path)


def read_volume(path: Path) -> tuple[NDArray[np.generic], Grid]:
    """Read a file as it is: array (channel, z, y, x) of the stored type, and its grid.

    Raises:
        ImageReadError: see `read_header`; or the voxels cannot be read.
    """
    if is_nifti(path) and path.is_file():
        stored = read_stored(path)
        for finding in stored.findings:
            if finding.kind is FindingKind.DAMAGED:
                raise refused(path, finding.what, finding.expected, finding.remedy)
        values, header = decoded(stored, header_of(path, stored.head))
    else:
        values, header = volume_of(path)
    return values, header.grid


def decoded(stored: Stored, header: ImageHeader) -> tuple[NDArray[np.generic], ImageHeader]:
    """Return the voxels of a whole NIfTI file as (channel, z, y, x), of the type that its header means.

    As SimpleITK does, 0 is put for NaN and infinite voxels.

    Raises:
        ImageReadError: the voxels cannot be read.
    """
    found = stored.header
    shape = (header.channels, *header.grid.shape_vox)
    if found is None or stored.voxels is None or found.real_type is None or found.is_scaled:
        return volume_of(stored.path)
    kind = np.dtype(found.real_type)
    if kind.name != header.pixel_type or kind.itemsize * math.prod(shape) != stored.voxels.size:
        return volume_of(stored.path)
    values = stored.voxels.view(kind).astype(kind.newbyteorder("="), copy=False)
    if np.issubdtype(kind, np.floating) and any(item.kind is FindingKind.NONFINITE for item in stored.findings):
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return values.reshape(shape), header


def read_image(paths: Sequence[Path], *, replace_nonfinite: bool = False) -> tuple[NDArray[np.float32], Grid]:
    """Read one case: a multi-channel file, or one single-channel file per channel.

    Args:
        paths: one or more files; several must each hold one channel of the same size.
        replace_nonfinite: put 0 for NaN and infinite voxels (``--replace-nonfinite``). In NIfTI files that is done
            unasked; only `nnbox.imaging.integrity` sees them there.

    Returns:
        Image, float32 (channel, z, y, x), and the grid of the first file.

    Raises:
        ImageReadError: see `read_volume`; or the channel files disagree in size or hold several channels each.
    """
    volumes = [read_volume(path) for path in paths]
    image = as_image(paths, [values for values, _ in volumes], replace_nonfinite=replace_nonfinite)
    return image, volumes[0][1]


def as_image(
    paths: Sequence[Path], volumes: Sequence[NDArray[np.generic]], *, replace_nonfinite: bool
) -> NDArray[np.float32]:
    """Join the volumes of a case's files to one image; see `read_image` for arguments and errors."""
    for path, values in zip(paths, volumes, strict=True):
        if len(paths) > 1 and len(values) != 1:
            raise refused(path, f"it holds {len(values)} channels", "one channel in each of several files")
        if values.shape[1:] != volumes[0].shape[1:]:
            expected = f"{volumes[0].shape[1:]} (z, y, x) as in {paths[0].name}"
            raise refused(path, f"its size is {values.shape[1:]}", expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a float64 beyond float32 becomes inf, which intake reports
        parts = [values.astype(np.float32, copy=False) for values in volumes]
    image = np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts)
    if replace_nonfinite:
        np.nan_to_num(image, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return image


def read_labels(path: Path) -> tuple[NDArray[np.int32], Grid]:
    """Read a label map: int32 (z, y, x) and its grid.

    Whole numbers stored as floating point are taken within 1e-3, since scaled NIfTI headers round.

    Raises:
        ImageReadError: see `read_volume`; or several channels, fractional or non-finite values, or values that do not
            fit into 32 bits.
    """
    values, grid = read_volume(path)
    return as_labels(path, values), grid


def as_labels(path: Path, values: NDArray[np.generic]) -> NDArray[np.int32]:
    """Take a volume (channel, z, y, x) for a label map; see `read_labels` for errors."""
    if len(values) != 1:
        raise refused(path, f"the label map has {len(values)} numbers per voxel", "one label value per voxel")
    whole = whole_numbers(values[0])
    if whole is None:
        raise refused(path, "the label map holds values that are no whole numbers", "whole label values from 0 up")
    return whole


def write_labels(path: Path, labels: NDArray[np.integer], grid: Grid) -> None:
    """Write a label map on a grid, atomically, as the smallest unsigned integer type that holds its values.

    Args:
        path: its ending chooses the format; formats that can compress do (``.nii`` never does).
        labels: (z, y, x), values >= 0.
        grid: the grid of the source image; spacing, origin and direction are written as they were read.

    Raises:
        ImageReadError: an ending that cannot be written, or values that the format cannot hold.
        ResourceError: the file could not be written whole; SimpleITK's own writer says nothing of a full disk.
        ValueError: the shape is not the grid's, or a value is negative.
    """
    if labels.shape != grid.shape_vox or labels.min(initial=0) < 0:
        raise ValueError(f"labels {labels.shape} from {labels.min(initial=0)} do not fit the grid {grid.shape_vox}")
    ending = ending_of(path)
    stored = labels.astype(np.min_scalar_type(int(labels.max(initial=0))))
    if (ending in PICTURE_ENDINGS and stored.itemsize > 2) or (ending == ".bmp" and stored.itemsize > 1):
        raise refused(path, f"{ending} cannot hold label value {labels.max()}", "values that fit", "write .nii.gz")
    if ending in PICTURE_ENDINGS and grid.dimension != 2:
        raise refused(path, f"{ending} cannot hold a 3D label map", "a 2D grid", "write .nii.gz")
    with atomic_path(path) as temporary:
        write_volume(temporary, stored, grid, ending)
        for finding in file_findings(temporary):
            raise ResourceError(
                f"{path}: the label map was not written whole ({finding.what}); its disk may be full. What to do: free "
                "some space, then run the same command again."
            )
