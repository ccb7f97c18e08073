"""The plan: everything that follows from the data by rules, each number with the decision that gave it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from nnbox.records.dataset import Channel, Choices, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One planned number as an argument.

    Attributes:
        subject: what was decided, e.g. ``"3d_fullres.patch_size"`` or ``"axis_order"``.
        rule: name of the rule function, e.g. ``"choose_patch_2019"``.
        source: ``"2018 §2.1"``, ``"2019 §2.2"``, ``"release"`` or ``"own"``.
        inputs: the numbers it saw (JSON values).
        outcome: what it gave (a JSON value).
        sentence: the argument in words.
    """

    subject: str
    rule: str
    source: str
    inputs: Mapping[str, Any]
    outcome: Any
    sentence: str


class NormalizationScheme(StrEnum):
    """How a channel's intensities are brought to a common scale. Source: 2018 §2.2."""

    CT = "ct"
    ZSCORE = "zscore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """What is done to one channel.

    Attributes:
        scheme: CT: clip to [lower, upper], then (x - mean) / sd; ZSCORE: per case (x - mean) / (sd + 1e-8).
        use_nonzero_mask: take the statistics inside the non-zero mask and set everything outside to 0 (mask rule).
        mean, sd, lower, upper: global foreground statistics, for CT only (else None).
    """

    scheme: NormalizationScheme
    use_nonzero_mask: bool
    mean: float | None = None
    sd: float | None = None
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """A U-Net as numbers; axes in working order, 2 entries per tuple for a 2D network and 3 for a 3D one.

    Attributes:
        dimension: 2 or 3.
        input_channels: image channels plus one-hot channels of a previous stage.
        classes: output classes, background included.
        features: feature maps of each level, from full resolution (first) to the bottleneck (last).
        strides: per level the stride of its first convolution; (1, 1, 1) for the first level.
        kernels: per level the kernel of its two convolutions; the bottleneck is the last.
    """

    dimension: int
    input_channels: int
    classes: int
    features: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How a case gets to the target spacing and back.

    Attributes:
        target_spacing_mm: (z, y, x) in working order; the first is None for 2D (resampled in plane only).
        separate_axis_threshold: a case whose max/min spacing exceeds it gets its coarse axis apart (nearest); None:
            never (2018: third-order on all axes).
        label_order: 0 nearest (2018), 1 linear per label (2019).
    """

    target_spacing_mm: tuple[float | None, float, float]
    separate_axis_threshold: float | None
    label_order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationPlan:
    """One configuration; sizes in working order, 2 entries for the 2D configuration and 3 for the others.

    Attributes:
        name: ``2d``, ``3d_fullres``, ``3d_lowres`` or ``3d_cascade``.
        store: the prepared store it reads: ``2d``, ``3d_fullres`` or ``3d_lowres``.
        previous: the configuration whose predictions are extra input channels (``3d_lowres``), or None.
        spacing_mm: target spacing.
        median_shape: rounded median shape at that spacing, in voxels.
        patch_size: in voxels; divisible by 2^pools on each axis.
        batch_size: samples per step.
        num_pool_per_axis: poolings of each axis.
        dummy_2d_augmentation: spatial augmentation slice by slice, with the 2D ranges.
        dummy_2d_axis: the axis along which slices are taken, when dummy_2d_augmentation.
        batch_dice: the batch counts as one sample in the Dice term.
        full_resolution: its output counts as full resolution (a candidate for selection).
        resampling: how cases get to ``spacing_mm``.
        topology: the network.
    """

    name: str
    store: str
    previous: str | None
    spacing_mm: tuple[float, ...]
    median_shape: tuple[int, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    num_pool_per_axis: tuple[int, ...]
    dummy_2d_augmentation: bool
    dummy_2d_axis: int | None
    batch_dice: bool
    full_resolution: bool
    resampling: Resampling
    topology: Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a task under a recipe.

    Attributes:
        task: name of the task.
        recipe: ``2018``, ``2019`` (or ``2021``, planning only).
        trainable: False for a planning-only rule set or a geometry-only fingerprint.
        why_not_trainable: the reason in words, or None.
        planning_memory_gb: the memory the budgets were scaled to (12 GB is the documents' card).
        dimension: 2 or 3, of the data.
        axis_order: working axis i is source axis ``axis_order[i]``.
        channels, labels: as in the data set.
        normalizations: one per channel.
        configurations: in the order they are trained.
        choices: the user's decisions about the data.
        decisions: how each number came about.
    """

    RECORD: ClassVar[str] = "plan"
    VERSION: ClassVar[int] = 1

    task: str
    recipe: str
    trainable: bool
    why_not_trainable: str | None
    planning_memory_gb: float
    dimension: int
    axis_order: tuple[int, int, int]
    channels: tuple[Channel, ...]
    labels: tuple[Label, ...]
    normalizations: tuple[Normalization, ...]
    configurations: tuple[ConfigurationPlan, ...]
    choices: Choices
    decisions: tuple[Decision, ...]

    def configuration(self, name: str) -> ConfigurationPlan:
        """Return the configuration of that name; KeyError if the plan has none."""
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        raise KeyError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """The cross-validation folds: names of the validation cases of each fold. Source: 2018 §2.3."""

    RECORD: ClassVar[str] = "folds"
    VERSION: ClassVar[int] = 1

    validation: tuple[tuple[str, ...], ...]
    origin: str

    def training(self, fold: int) -> tuple[str, ...]:
        """Return the training cases of a fold, sorted by name: the cases of all other folds."""
        others = (case for index, cases in enumerate(self.validation) if index != fold for case in cases)
        return tuple(sorted(others))

    def fold_of(self, case: str) -> int:
        """Return the fold whose validation set holds the case; KeyError if none does."""
        for index, cases in enumerate(self.validation):
            if case in cases:
                return index
        raise KeyError(case)
