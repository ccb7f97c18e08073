"""Post-processing tried on the winner's out-of-fold label maps, case by case, with the evidence kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnbox.evaluation.scores import dice_of_case
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.recipes import PostprocessingRule
from nnbox.records.results import Candidate, PostprocessingStep, PostprocessingTrial
from nnbox.rules.postprocessing import accept_step, single_component_labels
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.pool import run_all
from nnbox.stages.scoring import ScoringTask, reference_and_prediction, scoring_task

Steps = tuple[PostprocessingStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    scoring: ScoringTask
    accepted: Steps
    step: PostprocessingStep


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseEffect:
    """Dice per label of one case before and after a step."""

    case: str
    before: tuple[float | None, ...]
    after: tuple[float | None, ...]
