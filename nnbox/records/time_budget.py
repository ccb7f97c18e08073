"""What a run with a time budget measured, and what follows for its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLayout:
    """How one network's schedule was laid out when its training began, beside its progress.

    Attributes:
        epochs: planned; how many there were in the end is in its result.
        iterations: training steps of an epoch; they stay as they are when the training is continued.
    """

    RECORD: ClassVar[str] = "network_layout"
    VERSION: ClassVar[int] = 1

    epochs: int
    iterations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLayout:
    """The last layout of a task's run; all times in seconds.

    Attributes:
        budget_seconds: what was asked for.
        used_seconds: of it, when the layout was made, earlier starts of the command included.
        end: when the run is to end, local time with offset, ISO 8601.
        networks: how many were still to be trained.
        steps: training steps of each.
        epochs: of each, and
        iterations: training steps of an epoch.
        step_seconds: measured per configuration: a training step with its share of validation and book-keeping.
        start_seconds: measured per configuration: the beginning and the end of a network's training.
        case_seconds: measured per configuration: the out-of-fold prediction of a case.
        reserved_seconds: kept for what comes after training, by what for.
    """

    RECORD: ClassVar[str] = "time_budget"
    VERSION: ClassVar[int] = 1

    budget_seconds: float
    used_seconds: float
    end: str
    networks: int
    steps: int
    epochs: int
    iterations: int
    step_seconds: Mapping[str, float]
    start_seconds: Mapping[str, float]
    case_seconds: Mapping[str, float]
    reserved_seconds: Mapping[str, float]
