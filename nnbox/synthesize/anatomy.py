"""Drawing a synthetic case: where its structures lie, and what an image of them looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.geometry import Shape3, Spacing3
from nnbox.synthesize.presets import Preset

_MARGIN_VOX = 1.0
_ATTEMPTS = 2000
# The two rods point at least 60 degrees apart, so that neither hides the other.
_STRAIGHTEST_COSINE = 0.5
# Ends lie towards the sides of the volume (a beta distribution, 1 would be even): what all cases share stays small.
_TO_THE_SIDES = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rod:
    """A rod with round ends: all points within a radius of a straight line.

    Rods are thinner than a patch, so that a network sees them beside their surroundings: instance normalisation makes
    the inside of anything larger than a patch look like its outside.

    Attributes:
        ends_mm: float64 (2, 3), the line's ends (z, y, x) from the centre of the first voxel; equal ends make a ball.
        radius_mm: half the thickness.
    """

    ends_mm: NDArray[np.float64]
    radius_mm: float

    def distance_mm(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distance of points (…, 3) from the line."""
        start, along = self.ends_mm[0], self.ends_mm[1] - self.ends_mm[0]
        offset = points_mm - start
        share = np.clip(offset @ along / max(float(along @ along), 1e-12), 0.0, 1.0)
        return np.asarray(np.linalg.norm(offset - share[..., np.newaxis] * along, axis=-1))

    def inside(self, shape_vox: Shape3, spacing_mm: Spacing3) -> NDArray[np.bool_]:
        """Return the voxels whose centre lies in it, bool (z, y, x)."""
        return np.asarray(self.distance_mm(_points_mm(shape_vox, spacing_mm)) <= self.radius_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The structures of one case: two labels, and a distractor of none."""

    structures: tuple[Rod, Rod]
    distractor: Rod | None

    def labels(self, shape_vox: Shape3, spacing_mm: Spacing3) -> NDArray[np.uint8]:
        """Return consecutive labels, uint8 (z, y, x): 1 and 2; where both lie, the one that lies deeper."""
        points = _points_mm(shape_vox, spacing_mm)
        depths = np.stack([1 - rod.distance_mm(points) / rod.radius_mm for rod in self.structures])
        return np.where(depths.max(axis=0) >= 0, depths.argmax(axis=0) + 1, 0).astype(np.uint8)


def draw_anatomy(rng: np.random.Generator, preset: Preset, shape_vox: Shape3, spacing_mm: Spacing3) -> Anatomy:
    """Place two rods that share an end anywhere they fit, in any direction, and the distractor away from both."""
    extent = (np.array(shape_vox) - 1) * np.array(spacing_mm)
    radii = [float(rng.uniform(*limits)) for limits in preset.radius_mm]
    low = np.minimum(max(radii) + _MARGIN_VOX * np.array(spacing_mm), extent / 2)
    for _ in range(_ATTEMPTS):
        joint, *ends = low + (extent - 2 * low) * rng.beta(_TO_THE_SIDES, _TO_THE_SIDES, size=(3, 3))
        along = [end - joint for end in ends]
        lengths = [float(np.linalg.norm(line)) for line in along]
        fitting = all(a <= length <= b for length, (a, b) in zip(lengths, preset.length_mm, strict=True))
        if fitting and along[0] @ along[1] < _STRAIGHTEST_COSINE * lengths[0] * lengths[1]:
            break
    first, second = (
        Rod(ends_mm=np.stack([joint, end]), radius_mm=radius) for end, radius in zip(ends, radii, strict=True)
    )
    return Anatomy(structures=(first, second), distractor=_draw_distractor(rng, preset, extent, (first, second)))


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
    rng: np.random.Generator, preset: Preset, extent: NDArray[np.float64], structures: tuple[Rod, Rod]
) -> Rod | None:
    """Place a ball at least two of its diameters away from the structures, where there is room for one."""
    wanted = rng.random() < preset.distractor_share
    radius = rng.uniform(*preset.distractor_mm)
    low = np.minimum(radius, extent / 2)
    for _ in range(_ATTEMPTS if wanted else 0):
        centre = rng.uniform(low, extent - low)
        if min(rod.distance_mm(centre) - rod.radius_mm for rod in structures) > 4 * radius:
            return Rod(ends_mm=np.stack([centre, centre]), radius_mm=float(radius))
    return None


def _points_mm(shape_vox: Shape3, spacing_mm: Spacing3) -> NDArray[np.float64]:
    """Return the centre of every voxel, (z, y, x, 3)."""
    return np.asarray(np.moveaxis(np.indices(shape_vox), 0, -1) * np.array(spacing_mm))


def _smooth(rng: np.random.Generator, shape_vox: Shape3, sigma_vox: float) -> NDArray[np.float64]:
    """Smooth noise with sd 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape_vox), sigma_vox, mode="wrap")
    return np.asarray((field - field.mean()) / (field.std() + 1e-12))
