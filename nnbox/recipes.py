"""A recipe is the part of the method that never changes for a paper version; each field cites its source.

The other part, what follows from the data, is the plan (`nnbox.rules`, `nnbox.records.plan`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class LabelResampling(StrEnum):
    """How label maps are resampled."""

    NEAREST = "nearest"
    LINEAR_PER_LABEL = "linear_per_label"


class PostprocessingRule(StrEnum):
    """How post-processing is derived."""

    SINGLE_COMPONENT_REFERENCES = "single_component_references"
    CROSS_VALIDATED = "cross_validated"


class ForcedSamples(StrEnum):
    """How many samples of a batch must hold foreground."""

    MORE_THAN_A_THIRD = "more_than_a_third"
    LAST_THIRD = "last_third"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The fixed choices of one version of the method.

    Attributes:
        name: ``2018`` or ``2019``.
        trainable: False for a planning-only rule set (``2021``).
        separate_axis_threshold: max/min spacing above which the coarse axis is resampled apart; None: never.
            Source: 2019 §2.1.
        label_resampling: Source: 2018 §2.2, 2019 §2.1.
        mask_ratio: crop ratio below which normalisation uses the non-zero mask. Source: 2018 §2.2.
        mask_ratio_inclusive: a ratio equal to ``mask_ratio`` counts (2018); else strictly below.
            Source: 2018 §2.2, release.
        mask_ratio_median: the median over cases (2019) instead of the mean (2018). Source: release.
        mask_rule_for_ct: the mask rule also covers CT channels. Source: 2018 §2.2 (no exception), release (not for CT).
        learning_rate: initial rate of Adam. Source: 2018 §2.3, 2019 §2.2.
        weight_decay: Source: 2019 §2.2 / release.
        amsgrad: Source: release.
        iterations_per_epoch: Source: 2018 §2.3.
        validation_iterations: per epoch. Source: release.
        maximum_epochs: Source: 2019 §2.2; own for 2018.
        rate_factor: the rate is multiplied by it on a drop. Source: 2018 §2.3, 2019 §2.2.
        rate_patience_epochs: Source: 2018 §2.3, 2019 §2.2.
        rate_threshold: absolute improvement of the training average that counts. Source: 2018 §2.3, release.
        stop_patience_epochs: stop when the validation average has not improved for so long; None: no such rule.
            Source: 2018 §2.3.
        stop_threshold: absolute improvement of the validation average that counts; None: no such rule.
            Source: 2018 §2.3.
        stop_rate: stop when the rate is below it. Source: 2018 §2.3, 2019 §2.2.
        forced_samples: Source: 2018 §2.3, release.
        slicewise_ratio: patch anisotropy above which 3D patches are augmented slice by slice.
            Source: 2018 §2.3, release.
        slicewise_against_shortest: compare the longest with the shortest edge (2018); else any edge with the first
            axis. Source: 2018 §2.3, release.
        postprocessing: Source: 2018 §2.5; own for 2019.
    """

    name: str
    trainable: bool
    separate_axis_threshold: float | None
    label_resampling: LabelResampling
    mask_ratio: float
    mask_ratio_inclusive: bool
    mask_ratio_median: bool
    mask_rule_for_ct: bool
    learning_rate: float
    weight_decay: float
    amsgrad: bool
    iterations_per_epoch: int
    validation_iterations: int
    maximum_epochs: int
    rate_factor: float
    rate_patience_epochs: int
    rate_threshold: float
    stop_patience_epochs: int | None
    stop_threshold: float | None
    stop_rate: float
    forced_samples: ForcedSamples
    slicewise_ratio: float
    slicewise_against_shortest: bool
    postprocessing: PostprocessingRule


RECIPE_2018 = Recipe(
    name="2018",
    trainable=True,
    separate_axis_threshold=None,
    label_resampling=LabelResampling.NEAREST,
    mask_ratio=0.75,
    mask_ratio_inclusive=True,
    mask_ratio_median=False,
    mask_rule_for_ct=True,
    learning_rate=3e-4,
    weight_decay=0.0,
    amsgrad=False,
    iterations_per_epoch=250,
    validation_iterations=50,
    maximum_epochs=1000,
    rate_factor=0.2,
    rate_patience_epochs=30,
    rate_threshold=5e-3,
    stop_patience_epochs=60,
    stop_threshold=5e-3,
    stop_rate=1e-6,
    forced_samples=ForcedSamples.MORE_THAN_A_THIRD,
    slicewise_ratio=2.0,
    slicewise_against_shortest=True,
    postprocessing=PostprocessingRule.SINGLE_COMPONENT_REFERENCES,
)

RECIPE_2019 = Recipe(
    name="2019",
    trainable=True,
    separate_axis_threshold=3.0,
    label_resampling=LabelResampling.LINEAR_PER_LABEL,
    mask_ratio=0.75,
    mask_ratio_inclusive=False,
    mask_ratio_median=True,
    mask_rule_for_ct=False,
    learning_rate=3e-4,
    weight_decay=3e-5,
    amsgrad=True,
    iterations_per_epoch=250,
    validation_iterations=50,
    maximum_epochs=1000,
    rate_factor=0.2,
    rate_patience_epochs=30,
    rate_threshold=1e-3,
    stop_patience_epochs=None,
    stop_threshold=None,
    stop_rate=1e-6,
    forced_samples=ForcedSamples.LAST_THIRD,
    slicewise_ratio=3.0,
    slicewise_against_shortest=False,
    postprocessing=PostprocessingRule.CROSS_VALIDATED,
)

# 2021 is planned, never trained: its preprocessing and slice-wise rules are those of 2019, and of its training recipe
# (SGD, deep supervision) nothing is here, so the training fields below stand for nothing.
PLANNING_ONLY_2021 = replace(RECIPE_2019, name="2021", trainable=False)

RECIPES = {recipe.name: recipe for recipe in (RECIPE_2018, RECIPE_2019)}
DEFAULT_RECIPE = "2019"
