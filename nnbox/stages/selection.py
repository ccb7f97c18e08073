"""Every candidate scored on every case, the best one chosen, its post-processing derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.evaluation.scores import score_case
from nnbox.evaluation.summary import mean_dice, mean_dice_per_label
from nnbox.imaging.io import read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.inference.export import average_probabilities, labels_on_source, load_probabilities
from nnbox.network.counting import operations_per_mm3
from nnbox.records.codec import read_record, write_record
from nnbox.records.dataset import Case
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Folds, Plan
from nnbox.records.prepared import PreparedCase
from nnbox.records.results import (
    Candidate,
    CaseScores,
    CrossValidation,
    PostprocessingStep,
    PostprocessingTrial,
    Selection,
)
