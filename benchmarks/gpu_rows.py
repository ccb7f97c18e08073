"""The rows of `gpu.py` in the order of their importance."""

from __future__ import annotations

from gpu_epochs import epoch_row, loader_row
from gpu_folds import folds_row
from gpu_predict import prediction_row
from gpu_row import GpuRow
from gpu_steps import PLANS, compiled_row, step_row, switch_row

from nnbox.records.engine import SpeedUp

_OF_THE_FEED = SpeedUp.RESIDENT  # a step on batches that are ready does not see it


def rows() -> list[GpuRow]:
    """Return the rows, the most wanted first."""
    large, small = PLANS
    found = [step_row(large), epoch_row(large), prediction_row(), loader_row(large, "")]
    found += [step_row(small), epoch_row(small), loader_row(small, ""), folds_row()]
    found += [switch_row(plan, speed_up) for plan in PLANS for speed_up in SpeedUp if speed_up is not _OF_THE_FEED]
    found += [loader_row(plan, kind) for kind in ("-mapped", "-batchgenerators") for plan in PLANS]
    return [*found, *(compiled_row(plan) for plan in PLANS)]
