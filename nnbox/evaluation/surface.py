"""Distances between two surfaces: surface Dice at a tolerance and the 95th percentile of the Hausdorff distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from nnbox.evaluation.elements import element_sizes, neighbour_codes

_PERCENTILE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfaceDistances:
    """How far each element of one surface lies from the other, in both directions.

    Attributes:
        reference_mm, predicted_mm: distance of each element to the nearest element of the other surface, ascending.
        reference_sizes, predicted_sizes: areas in mm² (2D: lengths in mm) of the elements, in the same order.
    """

    reference_mm: NDArray[np.float64]
    reference_sizes: NDArray[np.float64]
    predicted_mm: NDArray[np.float64]
    predicted_sizes: NDArray[np.float64]


def surface_distances(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> SurfaceDistances:
    """Measure two masks that both hold at least one voxel.

    Args:
        reference: bool, (z, y, x) or (y, x).
        prediction: bool of the same shape.
        spacing_mm: one value per axis.

    Raises:
        ValueError: one of the masks is empty.
    """
    if not reference.any() or not prediction.any():
        raise ValueError("an empty mask has no surface")
    sizes = element_sizes(spacing_mm)
    full = (1 << (1 << reference.ndim)) - 1
    reference_codes, predicted_codes = neighbour_codes(reference), neighbour_codes(prediction)
    on_reference = (reference_codes != 0) & (reference_codes != full)
    on_prediction = (predicted_codes != 0) & (predicted_codes != full)
    reference_mm = _distances(on_reference, on_prediction, spacing_mm)
    predicted_mm = _distances(on_prediction, on_reference, spacing_mm)
    reference_mm, reference_sizes = _ascending(reference_mm, sizes[reference_codes[on_reference]])
    predicted_mm, predicted_sizes = _ascending(predicted_mm, sizes[predicted_codes[on_prediction]])
    return SurfaceDistances(
        reference_mm=reference_mm,
        reference_sizes=reference_sizes,
        predicted_mm=predicted_mm,
        predicted_sizes=predicted_sizes,
    )


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Return the share of both surfaces that lies within the tolerance (inclusive) of the other, in [0, 1]."""
    near = distances.reference_sizes[distances.reference_mm <= tolerance_mm].sum()
    near += distances.predicted_sizes[distances.predicted_mm <= tolerance_mm].sum()
    return float(near / (distances.reference_sizes.sum() + distances.predicted_sizes.sum()))


def hausdorff95_mm(distances: SurfaceDistances) -> float:
    """Return the larger of the two directions' 95th percentiles of distance, elements weighted by their size."""
    return max(
        _percentile(distances.reference_mm, distances.reference_sizes),
        _percentile(distances.predicted_mm, distances.predicted_sizes),
    )


def _distances(of: NDArray[np.bool_], to: NDArray[np.bool_], spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return per True cell of ``of``, in array order, the distance to the nearest True cell of ``to``.

    A search tree over the surface cells costs by the surface; a distance transform would cost by the volume.
    """
    spacing = np.array(spacing_mm)
    cells = np.argwhere(of)
    distances = np.zeros(len(cells))
    apart = np.flatnonzero(~to[of])
    if apart.size:
        targets = np.argwhere(to)
        tree = cKDTree(targets * spacing, balanced_tree=False)
        _, nearest = tree.query(cells[apart] * spacing)
        steps = (cells[apart] - targets[nearest]) * spacing
        distances[apart] = np.sqrt(np.square(steps).sum(axis=1))
    return distances


def _ascending(
    distances: NDArray[np.float64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.lexsort((sizes, distances))
    return distances[order], sizes[order]


def _percentile(distances: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    share = np.cumsum(sizes) / sizes.sum()
    return float(distances[min(int(np.searchsorted(share, _PERCENTILE)), distances.size - 1)])
