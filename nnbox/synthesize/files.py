"""Writing plain image files without the SimpleITK door, so that what is generated does not depend on what is tested."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.files import atomic_write_bytes
from nnbox.geometry import Grid, Spacing3

_NIFTI_CODES = {"uint8": (2, 8), "int16": (4, 16)}
_PNG_COLOUR = {1: 0, 3: 2}
_META_TYPES = {"uint8": "MET_UCHAR", "int16": "MET_SHORT"}


def write_volume(path: Path, image: NDArray[np.generic], spacing_mm: Spacing3) -> None:
    """Write a volume as ``.nii.gz`` with axes along left, posterior, superior; equal arrays give equal bytes.

    Args:
        path: ends in ``.nii.gz``.
        image: uint8 or int16 (z, y, x).
        spacing_mm: (z, y, x).
    """
    code, bits = _NIFTI_CODES[image.dtype.name]
    (nz, ny, nx), (dz, dy, dx) = image.shape, spacing_mm
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, nx, ny, nz, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1.0, dx, dy, dz, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<2f", header, 108, 352.0, 1.0)
    struct.pack_into("<B", header, 123, 2)  # millimetres
    struct.pack_into("<2h", header, 252, 0, 1)  # placed by the matrix below
    struct.pack_into("<12f", header, 280, -dx, 0, 0, 0, 0, -dy, 0, 0, 0, 0, dz, 0)
    header[344:348] = b"n+1\0"
    body = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).tobytes()
    atomic_write_bytes(path, gzip.compress(bytes(header) + body, compresslevel=6, mtime=0))


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an 8-bit ``.png``: grey (1, y, x) or RGB (3, y, x)."""
    channels, height, width = picture.shape
    rows = np.moveaxis(picture, 0, -1).reshape(height, width * channels)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    head = struct.pack(">2I5B", width, height, 8, _PNG_COLOUR[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b""))
    atomic_write_bytes(path, b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks))


def write_metaimage(path: Path, image: NDArray[np.generic], grid: Grid) -> None:
    """Write a compressed ``.mha`` on a grid; equal arrays give equal bytes.

    Args:
        path: ends in ``.mha``.
        image: uint8 or int16 (channel, z, y, x); several channels become several numbers per voxel.
        grid: where it lies; a 2D grid gives a 2D file.
    """
    dimension = grid.dimension
    voxels = np.moveaxis(image, 0, -1)
    body = zlib.compress(np.ascontiguousarray(voxels, dtype=image.dtype.newbyteorder("<")).tobytes())
    # MetaImage keeps the directions by axis, one axis after the other; a Grid keeps them by coordinate.
    directions = np.array(grid.direction_xyz).reshape(dimension, dimension).T.ravel()
    fields = {
        "ObjectType": "Image",
        "NDims": dimension,
        "BinaryData": True,
        "BinaryDataByteOrderMSB": False,
        "CompressedData": True,
        "CompressedDataSize": len(body),
        "TransformMatrix": _words(directions),
        "Offset": _words(grid.origin_xyz_mm),
        "ElementSpacing": _words(grid.spacing_mm[::-1][:dimension]),
        "DimSize": _words(grid.shape_vox[::-1][:dimension]),
        "ElementNumberOfChannels": len(image),
        "ElementType": _META_TYPES[image.dtype.name],
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{name} = {value}\n" for name, value in fields.items())
    atomic_write_bytes(path, header.encode() + body)


def write_tiff(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an 8-bit baseline ``.tif`` in one strip, not compressed: grey (1, y, x) or RGB (3, y, x)."""
    channels, height, width = picture.shape
    body = np.ascontiguousarray(np.moveaxis(picture, 0, -1)).tobytes()
    start = 8 + len(body) + len(body) % 2
    extra = start + 2 + 12 * 9 + 4  # where the three bit depths of an RGB picture lie
    depths = (3, 3, extra) if channels == 3 else (3, 1, 8)
    entries = [
        *(
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, *depths),
            (259, 3, 1, 1),
            (262, 3, 1, 2 if channels == 3 else 1),
        ),
        *((273, 4, 1, 8), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(body))),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, start)
    padded = body + b"\0" * (len(body) % 2)
    tail = struct.pack("<H", len(entries)) + table + struct.pack("<I3H", 0, 8, 8, 8)
    atomic_write_bytes(path, head + padded + tail)


def _words(values: Iterable[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
