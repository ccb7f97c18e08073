"""Where voxels lie: the one page on conventions.

* Arrays are (channel, z, y, x) or (z, y, x); shapes, spacings and boxes of this project are in that array order, called
  *zyx*. SimpleITK's own order is x, y, z; only `Grid.origin_xyz_mm` and `Grid.direction_xyz` keep it, untouched, so
  that they can be written back exactly.
* A 2D image is a volume of one slice, (1, y, x); `Grid.dimension` remembers that it is 2D.
* *Source* order is the order of the file. *Working* order is after `Placement.axis_order`, with the axis of the largest
  target spacing first. Cropping, resampling, tiles and planned sizes live in working order.
* Sizes are in voxels (`_vox`), lengths in millimetres (`_mm`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Shape3 = tuple[int, int, int]
Spacing3 = tuple[float, float, float]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The sampling grid of an image file, in source order.

    Attributes:
        shape_vox: (z, y, x) sizes; a 2D image has z = 1.
        spacing_mm: (z, y, x) spacings in mm, exactly as the file states them; a 2D image has z = 1.0.
        origin_xyz_mm: as in the file, 3 values (2 for a 2D image).
        direction_xyz: direction cosines as in the file, row-major, 9 values (4 for a 2D image).
        dimension: 2 or 3, what the file holds (channels of a 4D file do not count).
    """

    shape_vox: Shape3
    spacing_mm: Spacing3
    origin_xyz_mm: tuple[float, ...]
    direction_xyz: tuple[float, ...]
    dimension: int = 3


def tidy_spacing_mm(spacing_mm: tuple[float, ...]) -> tuple[float, ...]:
    """Round spacings to 6 significant digits, so that a format's float32 header does not change a plan. Source: own."""
    return tuple(float(f"{value:.6g}") for value in spacing_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open axis-aligned box of voxels: ``start <= index < stop``, per axis in (z, y, x)."""

    start: Shape3
    stop: Shape3

    @property
    def shape_vox(self) -> Shape3:
        """Size per axis in voxels."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Slices that cut the box out of a (z, y, x) array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a case lies in its source image; what undoes transposition and cropping.

    Attributes:
        source_shape_vox: (z, y, x) of the file, source order.
        axis_order: working axis i is source axis ``axis_order[i]``.
        crop: the box that was kept, in working order.
        crop_spacing_mm: spacing of the cropped image, working order.
        prepared_shape_vox: shape after resampling, working order.
        prepared_spacing_mm: nominal spacing after resampling, working order.
    """

    source_shape_vox: Shape3
    axis_order: tuple[int, int, int]
    crop: Box
    crop_spacing_mm: Spacing3
    prepared_shape_vox: Shape3
    prepared_spacing_mm: Spacing3

    def place(self, volume: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Cut a source-order array (…, z, y, x) down to the crop, in working order (a view where possible)."""
        leading = volume.ndim - 3
        order = (*range(leading), *(leading + axis for axis in self.axis_order))
        return np.transpose(volume, order)[(..., *self.crop.slices)]

    def restore(self, cropped: NDArray[_Scalar], fill: float = 0) -> NDArray[_Scalar]:
        """Put a cropped working-order array (…, z, y, x) back into the whole source grid, ``fill`` outside the crop."""
        leading = cropped.ndim - 3
        z, y, x = (self.source_shape_vox[axis] for axis in self.axis_order)
        whole = np.full((*cropped.shape[:leading], z, y, x), fill, dtype=cropped.dtype)
        whole[(..., *self.crop.slices)] = cropped
        inverse = tuple(int(axis) for axis in np.argsort(self.axis_order))
        order = (*range(leading), *(leading + axis for axis in inverse))
        return np.ascontiguousarray(np.transpose(whole, order))
