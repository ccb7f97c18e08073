"""The random parameters of one training sample, drawn once, apart from applying them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Elastic deformation: noise of amplitude ``alpha`` smoothed with ``sigma`` (voxels), from its own seed."""

    alpha: float
    sigma: float
    noise_seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskOperation:
    """One morphological change to a previous-stage label: ``dilation``, ``erosion``, ``opening`` or ``closing``."""

    label: int
    operator: str
    radius_vox: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAugmentation:
    """Everything random about the augmentation of one sample.

    Attributes:
        elastic: or None.
        angles_rad: rotation about each spatial axis (one angle in plane), or None.
        scale: size factor of the sampled region, or None.
        gammas: per image channel the exponent, or None where the channel is left alone.
        mirror_axes: spatial axes (0-based, of the patch) that are flipped.
        mask_operations: previous-stage changes, in the order they are applied (cascade only).
        removal: per label a number in [0, 1) that, times the component count, picks the component to remove if small.
    """

    elastic: Elastic | None
    angles_rad: tuple[float, ...] | None
    scale: float | None
    gammas: tuple[float | None, ...]
    mirror_axes: tuple[int, ...]
    mask_operations: tuple[MaskOperation, ...] = ()
    removal: tuple[tuple[int, float], ...] = ()
