"""The memory of reading, preparing and writing a case, as arithmetic: the largest sum of arrays alive at a time.

Each function follows the code it speaks of line by line: `nnbox.imaging.io`, `nnbox.imaging.prepare`,
`nnbox.imaging.postprocess`. Source: own; compared with measurements in ``tests/stages/test_memory.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnbox.geometry import Box, Grid, Shape3
from nnbox.imaging.header import ImageHeader
from nnbox.imaging.prepare import Way, placement_of, way_of
from nnbox.records.plan import ConfigurationPlan, Plan

_FLOAT_BYTES = 4
_NUMBER_BYTES = 4  # of a component's number, and of a label that is read


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSize:
    """What headers tell of a case.

    Attributes:
        grid: of the image.
        channels: in all files together.
        stored_bytes: of all voxels as they are stored, unpacked.
    """

    grid: Grid
    channels: int
    stored_bytes: int

    @staticmethod
    def of(headers: Sequence[ImageHeader]) -> SourceSize:
        """Add up the files of a case."""
        stored = (item.channels * np.dtype(item.pixel_type).itemsize for item in headers)
        voxels = math.prod(headers[0].grid.shape_vox)
        channels = sum(item.channels for item in headers)
        return SourceSize(grid=headers[0].grid, channels=channels, stored_bytes=voxels * sum(stored))

    @property
    def voxels(self) -> int:
        """Of the source grid."""
        return math.prod(self.grid.shape_vox)

    @property
    def image_bytes(self) -> int:
        """Of the image as float32 (channel, z, y, x)."""
        return _FLOAT_BYTES * self.channels * self.voxels

    @property
    def check_bytes(self) -> int:
        """What intake holds to see that the case is whole: it as stored, as float32, and which voxels are finite."""
        return self.stored_bytes + self.image_bytes + self.channels * self.voxels

    def way(self, plan: Plan, configuration: ConfigurationPlan) -> Way:
        """Return how the case is prepared for a configuration if nothing is cropped: no crop makes it larger."""
        z, y, x = (self.grid.shape_vox[axis] for axis in plan.axis_order)
        box = Box(start=(0, 0, 0), stop=(z, y, x))
        return way_of(placement_of(self.grid, plan.axis_order, box, configuration.resampling), configuration.resampling)


def prepared_bytes(source: SourceSize, ways: Sequence[Way]) -> int:
    """Return the bytes of the prepared arrays; equal ways share one."""
    return sum(_FLOAT_BYTES * source.channels * math.prod(way.placement.prepared_shape_vox) for way in set(ways))


def reading_bytes(source: SourceSize, ways: Sequence[Way], *, masked: bool) -> int:
    """Return the most that `read_image` and `prepare_each` hold, the prepared arrays included.

    Args:
        source: the case.
        ways: of every configuration that sees it, in the order in which they are prepared.
        masked: whether a channel's statistics are taken inside the non-zero mask, which copies what is inside.
    """
    reading = source.stored_bytes + source.image_bytes
    # The mask; then, unless nothing is zero, its negative, that with a border, the components, what is outside.
    cropping = source.image_bytes + (1 + 1 + 1 + _NUMBER_BYTES + 1) * source.voxels
    done, preparing = 0, 0
    for way in dict.fromkeys(ways):
        voxels = math.prod(way.placement.prepared_shape_vox)
        own = (_FLOAT_BYTES * source.channels + 1) * voxels
        scratch = max(_interpolation_bytes(way), _FLOAT_BYTES * voxels if masked else 0)
        preparing = max(preparing, done + own + scratch)
        done += _FLOAT_BYTES * source.channels * voxels
    return max(reading, cropping, source.image_bytes + source.voxels + preparing)


def _interpolation_bytes(way: Way) -> int:
    """Return what resampling one channel holds beside source and result; nothing where no axis changes its size."""
    old, new = way.placement.crop.shape_vox, way.placement.prepared_shape_vox
    if way.separate_axis is not None:  # one slice at a time: of its source, of what is halfway, of its result
        planes = (math.prod(shape) // shape[way.separate_axis] for shape in (old, new))
        return _FLOAT_BYTES * 3 * max(planes)
    axes = sorted((axis for axis in range(3) if old[axis] != new[axis]), key=lambda axis: new[axis] / old[axis])
    shape, sizes = list(old), []
    for axis in axes:
        shape[axis] = new[axis]
        sizes.append(math.prod(shape))
    pairs = [a + b for a, b in itertools.pairwise(sizes)]
    copied = math.prod(old) if way.placement.axis_order != (0, 1, 2) else 0
    return _FLOAT_BYTES * (max([*pairs, *sizes], default=0) + copied)


def writing_bytes(shape_vox: Shape3, label_bytes: int, *, components: bool) -> int:
    """Return the most that putting labels back, post-processing and writing hold, the labels of the crop included.

    Args:
        shape_vox: of the source grid.
        label_bytes: of a label.
        components: whether components are numbered.
    """
    voxels = math.prod(shape_vox)
    restoring = 3 * label_bytes
    numbering = 3 * label_bytes + 1 + _NUMBER_BYTES if components else 0
    writing = 4 * label_bytes  # on the crop, whole, as the smallest type, and SimpleITK's own copy
    return voxels * max(restoring, numbering, writing)


def checking_bytes(shape_vox: Shape3, label_bytes: int) -> int:
    """Return what reading a written label map holds: as stored, as int32, and a copy while values are counted."""
    return math.prod(shape_vox) * (label_bytes + 2 * _NUMBER_BYTES)
