"""What headers can say that is wrong."""

from __future__ import annotations

import math

from defect_row import INSPECT, PREDICT, TRAIN, Row
from rows_common import row
from small_set import patch, replaced, rewrite, save, unpacked

_DIM, _TYPE, _PIXDIM, _OFFSET, _SCALE, _CODES, _ROWS = 40, 70, 80, 108, 112, 252, 280


def _nifti(**fields):
    """Return a spoiler that overwrites the header of the bad case's image."""
    places = {
        "dim": (_DIM, "h"),
        "kind": (_TYPE, "h"),
        "bits": (72, "h"),
        "pixdim": (_PIXDIM, "f"),
        "offset": (_OFFSET, "f"),
        "scale": (_SCALE, "f"),
        "codes": (_CODES, "h"),
        "rows": (_ROWS, "f"),
        "magic": (344, "4s"),
    }

    def spoil(data):
        patches = {}
        for name, values in fields.items():
            offset, form = places[name]
            several = values if isinstance(values, tuple) else (values,)
            patches[offset] = (form if form == "4s" else f"{len(several)}{form}", several)
        patch(data.image(), patches)

    return spoil


def _text(old, new):
    def spoil(data):
        replaced(data.image(), old, new)

    return spoil


def _write_5d(data):
    content = unpacked(data.image())
    data.image().write_bytes(bytes(content))
    patch(data.image(), {_DIM: ("8h", (5, 12, 10, 3, 1, 2, 1, 1))})


def _write_channels(count):
    def spoil(data):
        import numpy as np
        import SimpleITK as sitk  # noqa: N813

        values = np.zeros((6, 10, 12, count), np.uint8)
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=True), str(data.image()))

    return spoil


def _write_complex(data):
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    values = np.ones((6, 10, 12), np.complex64)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(data.image()))


def _pages(data):
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 24, 28), np.uint8)), str(data.image()))


def _small(path):
    import numpy as np

    return np.ones((1, 2, 2), np.uint8 if "labelsTr" in str(path) else np.int16)


_OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
_CASE = "case beta"
_OUT = "--exclude beta"

ROWS: tuple[Row, ...] = (
    row(
        "zero spacing",
        "decathlon",
        ".nii.gz",
        _nifti(pixdim=0.0),
        INSPECT,
        3,
        _CASE,
        "the spacing (0, 0.9, 2) mm",
        "positive, finite spacings",
        _OUT,
    ),
    row("zero spacing", "nnunet_v2", ".nii", _nifti(pixdim=0.0), TRAIN, 3, _CASE, "the spacing (0, 0.9, 2) mm", _OUT),
    row(
        "zero spacing",
        "nnunet_v1",
        ".mha",
        _text(b"ElementSpacing = 0.8", b"ElementSpacing = 0 0.8"),
        INSPECT,
        3,
        _CASE,
        "spacing",
        _OUT,
    ),
    row("zero spacing", "bare", ".nrrd", _text(b"(0.80000000000000004,0,0)", b"(0,0,0)"), INSPECT, 3, _CASE, _OUT),
    row(
        "negative spacing",
        "decathlon",
        ".nii.gz",
        _nifti(pixdim=(0.8, -0.9)),
        INSPECT,
        3,
        _CASE,
        "(0.8, -0.9, 2) mm",
        _OUT,
    ),
    row(
        "negative spacing",
        "bare",
        ".mha",
        _text(b"ElementSpacing = 0.8", b"ElementSpacing = -.8"),
        INSPECT,
        3,
        _CASE,
        "spacing",
        _OUT,
    ),
    row("NaN spacing", "nnunet_v2", ".nii.gz", _nifti(pixdim=math.nan), INSPECT, 3, _CASE, "(nan, 0.9, 2) mm", _OUT),
    row(
        "NaN spacing",
        "decathlon",
        ".mha",
        _text(b"ElementSpacing = 0.8", b"ElementSpacing = nan"),
        INSPECT,
        3,
        _CASE,
        "spacing",
        _OUT,
    ),
    row("infinite spacing", "bare", ".nii.gz", _nifti(pixdim=math.inf), INSPECT, 3, _CASE, "(inf, 0.9, 2) mm", _OUT),
    row(
        "absurd spacing (10 km)",
        "decathlon",
        ".nii.gz",
        _nifti(pixdim=(1e7, 0.9, 2.0)),
        INSPECT,
        3,
        _CASE,
        "10000000.0",
        "between 1e-06 and 10000 mm",
        "correct the header",
        _OUT,
    ),
    row(
        "absurd spacing (10 km)",
        "flat",
        ".nii.gz",
        _nifti(pixdim=(1e7, 0.9, 2.0)),
        PREDICT,
        3,
        _CASE,
        "10000000.0",
        "between 1e-06 and 10000 mm",
        "correct the header",
        _OUT,
    ),
    row(
        "absurd spacing (1e-9 mm)",
        "nnunet_v2",
        ".nrrd",
        _text(b"(0.80000000000000004,0,0)", b"(1e-9,0,0)"),
        INSPECT,
        3,
        _CASE,
        "between 1e-06 and 10000 mm",
        _OUT,
    ),
    row(
        "singular directions",
        "decathlon",
        ".nii.gz",
        _nifti(codes=(0, 1), rows=(0.8, 0, 0, 1, 0, 0.9, 0, 2, 0.8, 0.9, 0, 3)),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "singular directions",
        "bare",
        ".mha",
        _text(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = 1 0 0 1 0 0 0 0 1"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "singular directions",
        "nnunet_v1",
        ".nrrd",
        _text(b"(0,0.90000000000000002,0)", b"(0.8,0,0)"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "NaN in the directions",
        "nnunet_v2",
        ".nii.gz",
        _nifti(codes=(0, 1), rows=(0.8, 0, 0, 1, 0, math.nan, 0, 2, 0, 0, 2, 3)),
        INSPECT,
        3,
        _CASE,
        "not finite",
        _OUT,
    ),
    row("five dimensions", "decathlon", ".nii", _write_5d, INSPECT, 3, _CASE, "5 dimensions", "one 3D file per", _OUT),
    row(
        "zero dimensions", "bare", ".nii.gz", _nifti(dim=(0, 12, 10, 6)), INSPECT, 3, _CASE, "the dimensions (0,", _OUT
    ),
    row("negative size", "nnunet_v2", ".nii.gz", _nifti(dim=(3, -12, 10, 6)), INSPECT, 3, _CASE, "-12", _OUT),
    row("size zero", "decathlon", ".mha", _text(b"DimSize = 12 10 6", b"DimSize = 12 10 0"), INSPECT, 3, _CASE, _OUT),
    row(
        "size that no file holds",
        "decathlon",
        ".nii.gz",
        _nifti(dim=(3, 32767, 32767, 32767)),
        INSPECT,
        3,
        _CASE,
        "GiB of voxels",
        "a plausible size",
        _OUT,
    ),
    row(
        "size that no file holds",
        "flat",
        ".nii.gz",
        _nifti(dim=(3, 32767, 32767, 32767)),
        PREDICT,
        3,
        _CASE,
        "GiB of voxels",
        "a plausible size",
        _OUT,
    ),
    row(
        "size that no file holds",
        "bare",
        ".mha",
        _text(b"DimSize = 12 10 6", b"DimSize = 99999 99999 99999"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "size that no file holds",
        "nnunet_v2",
        ".nrrd",
        _text(b"sizes: 12 10 6", b"sizes: 99999 99999 99999"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row("100 dimensions", "decathlon", ".mha", _text(b"NDims = 3", b"NDims = 100"), INSPECT, 3, _CASE, _OUT),
    row("17 dimensions", "decathlon", ".nrrd", _text(b"dimension: 3", b"dimension: 17"), INSPECT, 3, _CASE, _OUT),
    row(
        "compressed size absurd",
        "decathlon",
        ".mha",
        _text(b"CompressedDataSize = ", b"CompressedDataSize = 9999999999"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row(
        "negative offset of the voxels",
        "decathlon",
        ".nrrd",
        _text(b"encoding: gzip", b"encoding: gzip\nbyte skip: -7"),
        INSPECT,
        3,
        _CASE,
        _OUT,
    ),
    row("RGB in 3D", "decathlon", ".nii.gz", _write_channels(3), INSPECT, 3, _CASE, "RGB volume", "grey values", _OUT),
    row("RGB in 3D", "bare", ".mha", _write_channels(3), INSPECT, 3, _CASE, "RGB volume", _OUT),
    row(
        "1000 numbers per voxel",
        "nnunet_v2",
        ".nrrd",
        _write_channels(1000),
        INSPECT,
        3,
        _CASE,
        "it has 1000 channel(s)",
        "expected 1 channel(s)",
        _OUT,
    ),
    row("complex voxels", "decathlon", ".nii.gz", _write_complex, INSPECT, 3, _CASE, "complex", "real numbers", _OUT),
    row("complex voxels", "bare", ".mha", _write_complex, INSPECT, 3, _CASE, _OUT),
    row("unknown voxel type", "decathlon", ".nii.gz", _nifti(kind=999), INSPECT, 3, _CASE, "voxel type 999", _OUT),
    row("voxels in another file (.img)", "bare", ".nii", _nifti(magic=b"ni1\0"), INSPECT, 3, _CASE, ".img", _OUT),
    row(
        "voxels start before the header ends",
        "decathlon",
        ".nii.gz",
        _nifti(offset=8.0),
        INSPECT,
        3,
        _CASE,
        "start at byte 8",
        _OUT,
    ),
    row("voxels start at byte NaN", "decathlon", ".nii", _nifti(offset=math.nan), INSPECT, 3, _CASE, "byte nan", _OUT),
    row("scaling by NaN", "decathlon", ".nii.gz", _nifti(scale=(math.nan, 0.0)), INSPECT, 0, "1 to 199"),
    row("scaling beyond float32", "decathlon", ".nii.gz", _nifti(scale=(3e38, 0.0)), INSPECT, 3, _CASE, _OUT),
    row("a stack of pages", "nnunet_v2", ".tif", _pages, INSPECT, 3, _CASE, "4 pages", "one 2D picture", _OUT),
    row(
        "one axis of one voxel, every case", "decathlon", ".nii.gz", None, INSPECT, 0, "1 x 10 x 12", shape=(1, 10, 12)
    ),
    row("two axes of one voxel, every case", "decathlon", ".nii.gz", None, INSPECT, 0, "1 x 1 x 12", shape=(1, 1, 12)),
    row("one axis of one voxel, every case", "bare", ".mha", None, TRAIN, 0, "plan", shape=(6, 1, 12)),
    row("a single voxel, every case", "nnunet_v2", ".nii.gz", None, INSPECT, 0, "1 x 1 x 1", shape=(1, 1, 1)),
    row(
        "another size than the rest",
        "decathlon",
        ".nii.gz",
        lambda data: [save(path, _small(path)) for path in (data.image(), data.label())],
        INSPECT,
        0,
        "smallest 1 x 2 x 2",
    ),
    row(
        "oblique directions",
        "decathlon",
        ".nii.gz",
        lambda data: [rewrite(path, direction=_OBLIQUE) for path in (data.image(), data.label())],
        INSPECT,
        0,
        "layout",
    ),
)
