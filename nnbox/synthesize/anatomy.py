"""Drawing a synthetic case: where its structures lie, and what an image of them looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.geometry import Shape3, Spacing3
from nnbox.synthesize.presets import Preset

_MARGIN_VOX = 1.0
_ATTEMPTS = 200
# Distance of the centres of the two structures as a share of the sum of their radii: attached, hardly overlapping.
_ATTACHED = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """An axis-aligned ellipsoid: centre and semi-axes in mm, (z, y, x), from the centre of the first voxel."""

    centre_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]

    def inside(self, shape_vox: Shape3, spacing_mm: Spacing3) -> NDArray[np.bool_]:
        """Return the voxels whose centre lies in it."""
        axes = np.ogrid[tuple(slice(size) for size in shape_vox)]
        parts = zip(axes, spacing_mm, self.centre_mm, self.radii_mm, strict=True)
        distance = sum(((axis * spacing - centre) / radius) ** 2 for axis, spacing, centre, radius in parts)
        return np.asarray(distance <= 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The structures of one case: two labels, and a distractor of none."""

    structures: tuple[Ellipsoid, Ellipsoid]
    distractor: Ellipsoid | None

    def labels(self, shape_vox: Shape3, spacing_mm: Spacing3) -> NDArray[np.uint8]:
        """Return consecutive labels, uint8 (z, y, x): 1 and 2; the second wins where they overlap."""
        labels = np.zeros(shape_vox, dtype=np.uint8)
        for label, structure in enumerate(self.structures, start=1):
            labels[structure.inside(shape_vox, spacing_mm)] = label
        return labels


def draw_anatomy(rng: np.random.Generator, preset: Preset, shape_vox: Shape3, spacing_mm: Spacing3) -> Anatomy:
    """Place the structures anywhere they fit, attached to each other, and the distractor away from both."""
    extent = (np.array(shape_vox) - 1) * np.array(spacing_mm)
    margin = _MARGIN_VOX * np.array(spacing_mm)
    flat = preset.dimension == 2
    first_radii, second_radii = (_radii(rng, limits, flat=flat) for limits in preset.radius_mm)
    for _ in range(_ATTEMPTS):
        first = _centre(rng, extent, first_radii + margin)
        second = first + _ATTACHED * (first_radii + second_radii) * _direction(rng, flat=flat)
        if _fits(second, extent, second_radii + margin, flat=flat):
            break
    structures = (
        Ellipsoid(centre_mm=first, radii_mm=first_radii),
        Ellipsoid(centre_mm=second, radii_mm=second_radii),
    )
    return Anatomy(structures=structures, distractor=_draw_distractor(rng, preset, extent, structures))


def draw_image(
    rng: np.random.Generator, preset: Preset, anatomy: Anatomy, grid: tuple[Shape3, Spacing3]
) -> NDArray[np.int16]:
    """Draw the intensities: int16 (channel, z, y, x), clipped to the preset's range."""
    shape_vox, spacing_mm = grid
    labels = anatomy.labels(shape_vox, spacing_mm)
    level = preset.background + preset.texture * _smooth(rng, shape_vox, 2.0)
    if anatomy.distractor is not None:
        level[anatomy.distractor.inside(shape_vox, spacing_mm)] = preset.structures[0]
    for label, intensity in enumerate(preset.structures, start=1):
        level[labels == label] = intensity
    level *= 1 + preset.bias * _smooth(rng, shape_vox, 8.0)
    channels = []
    for index in range(len(preset.modalities)):
        # Channels of a picture see the same scene with falling contrast.
        seen = preset.background + (level - preset.background) * 0.7**index
        noisy = seen + preset.noise * rng.standard_normal(shape_vox)
        channels.append(np.clip(np.rint(noisy), preset.lowest, preset.highest).astype(np.int16))
    return np.stack(channels)


def _draw_distractor(
    rng: np.random.Generator, preset: Preset, extent: NDArray[np.float64], structures: tuple[Ellipsoid, Ellipsoid]
) -> Ellipsoid | None:
    wanted = rng.random() < preset.distractor_share
    radius = np.full(3, rng.uniform(*preset.distractor_mm))
    for _ in range(_ATTEMPTS if wanted else 0):
        centre = _centre(rng, extent, radius)
        gaps = [np.linalg.norm((centre - other.centre_mm) / (other.radii_mm + 2 * radius)) for other in structures]
        if min(gaps) > 1.0:
            return Ellipsoid(centre_mm=centre, radii_mm=radius)
    return None


def _radii(rng: np.random.Generator, limits: tuple[float, float], *, flat: bool) -> NDArray[np.float64]:
    radii = rng.uniform(*limits, size=3)
    return np.array([1.0, *radii[1:]]) if flat else radii


def _centre(rng: np.random.Generator, extent: NDArray[np.float64], keep: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw a point at least ``keep`` from the faces; the middle of an axis that is too short for that."""
    low, high = np.minimum(keep, extent / 2), np.maximum(extent - keep, extent / 2)
    return rng.uniform(low, high)


def _direction(rng: np.random.Generator, *, flat: bool) -> NDArray[np.float64]:
    vector = rng.standard_normal(3)
    if flat:
        vector[0] = 0.0
    return np.asarray(vector / np.linalg.norm(vector))


def _fits(centre: NDArray[np.float64], extent: NDArray[np.float64], keep: NDArray[np.float64], *, flat: bool) -> bool:
    inside = (centre >= keep) & (centre <= extent - keep)
    return bool(inside[1:].all() if flat else inside.all())


def _smooth(rng: np.random.Generator, shape_vox: Shape3, sigma_vox: float) -> NDArray[np.float64]:
    """Smooth noise with sd 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape_vox), sigma_vox, mode="wrap")
    return np.asarray((field - field.mean()) / (field.std() + 1e-12))
