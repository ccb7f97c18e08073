"""What a file says about itself, and how a file is refused; no SimpleITK here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError
from nnbox.geometry import Grid
from nnbox.limits import SMALL_BYTES, available_memory_bytes

MAX_VOXELS = 2**33
"""A header that claims more voxels (all channels together) is taken for damaged: 32 GiB as float32."""
_INTEGER_TOLERANCE = 1e-3


class ImageReadError(DataError):
    """A file cannot be read as an image: says what is wrong, what was expected and what to do.

    Attributes:
        path: the file.
        what: the defect in words.
        expected: what a good file would be.
        remedy: the act that helps.
    """

    def __init__(self, path: Path, what: str, *, expected: str, remedy: str) -> None:
        self.path, self.what, self.expected, self.remedy = path, what, expected, remedy
        super().__init__(f"{path}: {what}; expected {expected}. What to do: {remedy}.")

    def __reduce__(self) -> tuple[Callable[..., ImageReadError], tuple[Path, str, str, str]]:
        """Let it cross from a worker process: an exception is otherwise rebuilt from its message alone."""
        return refused, (self.path, self.what, self.expected, self.remedy)


class FindingKind(StrEnum):
    """What a finding is about; only non-finite voxels can be accepted by an option."""

    DAMAGED = "damaged"
    NONFINITE = "nonfinite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One defect of a file: what it is, what was expected, and what to do."""

    kind: FindingKind
    what: str
    expected: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageHeader:
    """What a file says about itself, before its voxels are read.

    Attributes:
        grid: where its voxels lie.
        channels: number of channels.
        pixel_type: numpy's name of the stored scalar type, e.g. ``"int16"`` (after a NIfTI header's scaling).
    """

    grid: Grid
    channels: int
    pixel_type: str


def refused(
    path: Path, what: str, expected: str, remedy: str = "replace the file, or --exclude its case"
) -> ImageReadError:
    """Return the error that refuses a file; see `ImageReadError` for the parts."""
    return ImageReadError(path, what, expected=expected, remedy=remedy)


def lack_of_memory(path: Path, voxels: int, stored_bytes: int) -> tuple[str, str] | None:
    """Return that an image is too large to be read here, and what was expected; None where it fits.

    A file of a few megabytes can unpack to all the memory there is, so its claim is weighed before it is believed.

    Args:
        path: the file.
        voxels: that it claims, of all channels.
        stored_bytes: of these voxels as they are stored; as float32 they are needed at the same time.
    """
    needed = stored_bytes + 4 * voxels
    if needed <= SMALL_BYTES or needed <= (available := available_memory_bytes()):
        return None
    packed = path.stat().st_size
    what = f"it claims {voxels:,} voxels ({packed:,} bytes on disk); reading them takes {needed / 2**30:.1f} GiB"
    return what, f"an image that fits into the {available / 2**30:.1f} GiB of memory available"


def whole_numbers(values: NDArray[np.generic]) -> NDArray[np.int32] | None:
    """Return the array as int32 if all its values are whole (within 1e-3) and fit, else None."""
    if np.issubdtype(values.dtype, np.floating):
        if not np.all(np.isfinite(values)):
            return None
        rounded = np.rint(values)
        if float(np.abs(values - rounded).max(initial=0.0)) > _INTEGER_TOLERANCE:
            return None
        values = rounded
    limits = np.iinfo(np.int32)
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        return None
    return values.astype(np.int32, copy=False)


def has_utf8_name(path: Path) -> bool:
    """Return whether a path is valid UTF-8; one that is not makes SimpleITK abort the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def has_grey_palette(path: Path) -> bool:
    """Return whether a BMP file stores grey values through a palette, which ITK expands to RGB."""
    with path.open("rb") as stream:
        head = stream.read(54)
        if len(head) < 54 or int.from_bytes(head[28:30], "little") > 8:
            return False
        stream.seek(14 + int.from_bytes(head[14:18], "little"))
        count = int.from_bytes(head[46:50], "little") or 1 << int.from_bytes(head[28:30], "little")
        palette = np.frombuffer(stream.read(4 * min(count, 256)), dtype=np.uint8)
    colours = palette[: len(palette) // 4 * 4].reshape(-1, 4)[:, :3]
    return bool(np.all(colours == colours[:, :1]))


def damaged(
    what: str, expected: str = "a whole file", remedy: str = "replace the file, or --exclude its case"
) -> Finding:
    """Return the finding about a file that must not be read."""
    return Finding(kind=FindingKind.DAMAGED, what=what, expected=expected, remedy=remedy)
