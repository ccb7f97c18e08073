"""The surface of a voxel mask, cut into one element per cell of eight (in 2D four) neighbouring voxel centres.

A cell whose corners are neither all inside nor all outside holds a piece of the surface: the polygons through the
midpoints of the edges that change sides (marching cubes). What that leaves open is settled so that inside and outside
are treated alike, and so that the sizes are those of the metric's published definition (tested against its package):

* On a face with two inside corners on a diagonal, the surface cuts off the corners of the minority of the cell: the
  inside ones where at most half of the corners are inside, else the outside ones.
* A polygon that is not flat is cut into triangles in the way that has the largest area on a cube.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_Point = tuple[float, ...]
_Corner = tuple[int, ...]


@functools.lru_cache(maxsize=16)
def element_sizes(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the size of the surface in a cell for each neighbour code: 256 areas in mm², or 16 lengths in mm in 2D.

    Bit i of a code is set where corner i is inside, corners counted in (z, y, x) order, the first as bit 0.

    Args:
        spacing_mm: (z, y, x) or (y, x).
    """
    if len(spacing_mm) == 2:
        lengths = [_contour_length(code, np.array(spacing_mm)) for code in range(16)]
        return np.array(lengths)
    dz, dy, dx = spacing_mm
    scale = np.array([dy * dx, dz * dx, dz * dy])
    areas = [sum(float(np.linalg.norm(normal * scale)) for normal in normals) for normals in _triangle_normals()]
    return np.array(areas)


def neighbour_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the code of every cell that touches the array, one more per axis than voxels; beyond it all is outside."""
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros(tuple(size + 1 for size in mask.shape), dtype=np.uint8)
    for bit, corner in enumerate(itertools.product((0, 1), repeat=mask.ndim)):
        part = padded[tuple(slice(start, start + size) for start, size in zip(corner, codes.shape, strict=True))]
        codes |= part << np.uint8(bit)
    return codes


def _contour_length(code: int, spacing_mm: NDArray[np.float64]) -> float:
    face = [(0, 0), (0, 1), (1, 1), (1, 0)]
    segments = _segments(face, _inside(code, 2))
    return sum(float(np.linalg.norm((np.array(a) - np.array(b)) * spacing_mm)) for a, b in segments)


@functools.cache
def _triangle_normals() -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Return per code the normals of the triangles on the unit cube, each as long as the triangle's area."""
    return tuple(tuple(_normals_of_code(code)) for code in range(256))


def _normals_of_code(code: int) -> Iterator[NDArray[np.float64]]:
    inside = _inside(code, 3)
    segments = [segment for face in _faces() for segment in _segments(face, inside)]
    for polygon in _polygons(segments):
        points = np.array(polygon)
        cuts = [[_normal(points, triangle) for triangle in cut] for cut in _triangulations(0, len(polygon) - 1)]
        yield from max(cuts, key=lambda cut: round(sum(float(np.linalg.norm(normal)) for normal in cut), 9))


def _inside(code: int, dimension: int) -> dict[_Corner, bool]:
    corners = itertools.product((0, 1), repeat=dimension)
    return {corner: bool(code >> bit & 1) for bit, corner in enumerate(corners)}


def _faces() -> Iterator[list[_Corner]]:
    """Yield the six faces of the unit cube, each as four corners in cyclic order."""
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = ((0, 0), (0, 1), (1, 1), (1, 0))
        yield [(*pair[:axis], side, *pair[axis:]) for pair in ring]


def _segments(face: Sequence[_Corner], inside: dict[_Corner, bool]) -> list[tuple[_Point, _Point]]:
    """Return the lines in which the surface meets a face."""
    minority = sum(inside.values()) <= len(inside) // 2
    edges = [(face[i - 1], face[i]) for i in range(4)]
    crossed = [_middle(*edge) for edge in edges if inside[edge[0]] != inside[edge[1]]]
    if len(crossed) < 4:
        return [(crossed[0], crossed[1])] if crossed else []
    return [
        (_middle(face[i - 1], face[i]), _middle(face[i], face[(i + 1) % 4]))
        for i in range(4)
        if inside[face[i]] == minority
    ]


def _middle(a: _Corner, b: _Corner) -> _Point:
    return tuple((p + q) / 2 for p, q in zip(a, b, strict=True))


def _polygons(segments: Sequence[tuple[_Point, _Point]]) -> Iterator[list[_Point]]:
    """Join segments at their common ends into closed polygons (each end belongs to two segments)."""
    rest = list(segments)
    while rest:
        first, last = rest.pop()
        polygon = [first, last]
        while polygon[-1] != first:
            following = next(segment for segment in rest if polygon[-1] in segment)
            rest.remove(following)
            polygon.append(following[1] if following[0] == polygon[-1] else following[0])
        yield polygon[:-1]


def _triangulations(first: int, last: int) -> list[list[tuple[int, int, int]]]:
    """Return every way to cut the polygon of points first..last into triangles of its corners."""
    if last - first < 2:
        return [[]]
    return [
        [*left, *right, (first, apex, last)]
        for apex in range(first + 1, last)
        for left in _triangulations(first, apex)
        for right in _triangulations(apex, last)
    ]


def _normal(points: NDArray[np.float64], triangle: tuple[int, int, int]) -> NDArray[np.float64]:
    a, b, c = (points[corner] for corner in triangle)
    return np.asarray(np.cross(b - a, c - a) / 2, dtype=np.float64)
