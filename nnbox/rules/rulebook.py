"""The planning rules of each version, side by side: what differs between 2018, 2019 and 2021."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnbox.geometry import Spacing3
from nnbox.recipes import PLANNING_ONLY_2021, RECIPE_2018, RECIPE_2019, Recipe
from nnbox.rules import budget, cascade
from nnbox.rules.patch_2018 import design_2d_2018, design_3d_2018
from nnbox.rules.patch_2019 import design_2d_2019, design_3d_2019
from nnbox.rules.patch_2021 import design_2d_2021, design_3d_2021
from nnbox.rules.stage import Design, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRules:
    """When there is a cascade, and how its low resolution is found.

    Attributes:
        needed: (median voxels, typical patch voxels) -> bool.
        typical_patch_voxels: at 12 GB.
        coarsen: one step of the search.
        follows_patch: the limit is 4 times the patch planned at each step (2021), not 4 times the typical patch.
        kept_factor: the low resolution is kept if so many times its voxels are still fewer; None: always kept.
        source: of the rules.
    """

    needed: Callable[[int, float], bool]
    typical_patch_voxels: int
    coarsen: Callable[[Spacing3], Spacing3]
    follows_patch: bool
    kept_factor: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """Everything a plan needs besides the fingerprint."""

    recipe: Recipe
    coarse_percentile: bool
    design_2d: Callable[[Stage], Design]
    design_3d: Callable[[Stage], Design]
    cascade: CascadeRules


RULEBOOKS = {
    "2018": Rulebook(
        recipe=RECIPE_2018,
        coarse_percentile=False,
        design_2d=design_2d_2018,
        design_3d=design_3d_2018,
        cascade=CascadeRules(
            needed=cascade.needs_cascade_2018,
            typical_patch_voxels=budget.VOXELS_3D_2018,
            coarsen=cascade.coarsen_2018,
            follows_patch=False,
            kept_factor=None,
            source="2018 §2.2",
        ),
    ),
    "2019": Rulebook(
        recipe=RECIPE_2019,
        coarse_percentile=False,
        design_2d=design_2d_2019,
        design_3d=design_3d_2019,
        cascade=CascadeRules(
            needed=cascade.needs_cascade_2019,
            typical_patch_voxels=budget.TYPICAL_PATCH_VOXELS_2019,
            coarsen=cascade.coarsen_2019,
            follows_patch=False,
            kept_factor=cascade.KEPT_FACTOR_2019,
            source="2019 §2.2, release",
        ),
    ),
    "2021": Rulebook(
        recipe=PLANNING_ONLY_2021,
        coarse_percentile=True,
        design_2d=design_2d_2021,
        design_3d=design_3d_2021,
        cascade=CascadeRules(
            needed=cascade.needs_cascade_2019,
            typical_patch_voxels=budget.TYPICAL_PATCH_VOXELS_2019,
            coarsen=cascade.coarsen_2019,
            follows_patch=True,
            kept_factor=cascade.KEPT_FACTOR_2021,
            source="release (2021)",
        ),
    ),
}
