"""What training and cross-validation found: per fold, per case, per candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """One finished training unit.

    Attributes:
        configuration, fold: which one.
        epochs: epochs run.
        stopped_by: ``rate``, ``plateau``, ``epochs`` … in words.
        training_cases, validation_cases: names.
        loss_first, loss_last: mean training loss of the first and last epoch.
        weights_sha256: digest of the weights file.
    """

    RECORD: ClassVar[str] = "fold_result"
    VERSION: ClassVar[int] = 1

    configuration: str
    fold: int
    epochs: int
    iterations_per_epoch: int
    stopped_by: str
    training_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    loss_first: float
    loss_last: float
    weights_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScores:
    """Scores of one label in one case; None where a measure is undefined (see evaluation)."""

    dice: float | None
    surface_dice: float | None
    hd95_mm: float | None
    reference_voxels: int
    predicted_voxels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScores:
    """Scores of one case: one entry per foreground label, in the order of the labels."""

    RECORD: ClassVar[str] = "case_scores"
    VERSION: ClassVar[int] = 1

    case: str
    labels: tuple[LabelScores, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One single configuration or pair, evaluated by cross-validation.

    Attributes:
        name: ``3d_fullres`` or ``2d+3d_fullres``.
        members: its configurations.
        cases: scores of every case it was compared on.
        mean_dice_per_label: mean over cases, None where no case defines it.
        mean_dice: mean over labels.
        networks: how many networks a prediction runs.
        operations_per_mm3: multiply-adds per mm³ of image, for ties.
    """

    name: str
    members: tuple[str, ...]
    cases: tuple[CaseScores, ...]
    mean_dice_per_label: tuple[float | None, ...]
    mean_dice: float | None
    networks: int
    operations_per_mm3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidation:
    """Every candidate's evidence.

    Attributes:
        task: name of the task.
        tolerances_mm: surface-Dice tolerance used.
        folds_complete: the folds all candidates have.
        partial: fewer than all training cases were compared.
        left_out: configurations that were trained in part only and are no candidates, with the reason.
        candidates: every single configuration and every pair.
        not_candidates: configurations that are evaluated but never chosen (low resolution).
    """

    RECORD: ClassVar[str] = "crossvalidation"
    VERSION: ClassVar[int] = 1

    task: str
    tolerance_mm: float
    folds_complete: tuple[int, ...]
    partial: bool
    left_out: Mapping[str, str]
    candidates: tuple[Candidate, ...]
    not_candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostprocessingStep:
    """Keep only the largest component: of all foreground (``label`` 0) or of one label 1..K."""

    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PostprocessingTrial:
    """Evidence for one step, accepted or not.

    Attributes:
        step: what was tried.
        accepted: whether it is used.
        reason: in words.
        dice_before, dice_after: mean Dice over cases per label.
        changed_cases: per case that the step changed: per-label Dice before and after.
    """

    step: PostprocessingStep
    accepted: bool
    reason: str
    dice_before: tuple[float | None, ...]
    dice_after: tuple[float | None, ...]
    changed_cases: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is used for test cases: the chosen candidate with its folds and its post-processing.

    Attributes:
        task: name of the task.
        candidate: name of the winner.
        members: its configurations.
        folds: per member (and the previous stage it needs) the trained folds.
        partial: cross-validation was incomplete.
        mean_dice: the winner's cross-validated mean Dice before post-processing, None if undefined.
        mean_dice_per_label: per label after post-processing.
        reason: why this one, in words.
        postprocessing: the accepted steps, in order.
        trials: every step tried, with evidence.
    """

    RECORD: ClassVar[str] = "selection"
    VERSION: ClassVar[int] = 1

    task: str
    candidate: str
    members: tuple[str, ...]
    folds: Mapping[str, tuple[int, ...]]
    partial: bool
    mean_dice: float | None
    mean_dice_per_label: tuple[float | None, ...]
    reason: str
    postprocessing: tuple[PostprocessingStep, ...]
    trials: tuple[PostprocessingTrial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """The model bundle's table of contents: every file with its digest, and the versions that made it."""

    RECORD: ClassVar[str] = "bundle"
    VERSION: ClassVar[int] = 1

    task: str
    recipe: str
    versions: Mapping[str, str]
    files: Mapping[str, str]
