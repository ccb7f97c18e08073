"""How long a run still takes, from what its log says its parts took. Source: own."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from nnbox.records.events import Event

_RECENT = 5


class Pace:
    """Hears a run's events and tells what is still to come, at most: networks may end before their last epoch.

    Counted are training, out-of-fold predictions, and the test images, which cost no more than one pass of every
    network; scoring is not. What was not measured yet is taken from what was: epochs by the operations they need.
    """

    def __init__(self) -> None:
        self._operations: dict[str, float] = {}
        self._projected_hours: float | None = None
        self._epochs: dict[str, deque[float]] = {}
        self._validation: dict[str, float] = {}
        self._prediction: deque[float] = deque(maxlen=_RECENT)

    def hear(self, event: Event) -> None:
        """Take in what an event says of time."""
        facts = event.facts
        if event.event == "start":
            self._projected_hours = None
        elif event.event == "units":
            self._operations = dict(facts.get("operations", {}))
        elif event.event == "projection":
            self._projected_hours = float(facts["hours"])
        elif event.event == "epoch":
            recent = self._epochs.setdefault(str(facts["configuration"]), deque(maxlen=_RECENT))
            recent.append(float(facts["seconds"]))
        elif event.event == "validated" and facts.get("cases"):
            self._validation[str(facts["configuration"])] = float(facts["seconds"]) / int(facts["cases"])
        elif event.event == "predicted" and "seconds" in facts:
            self._prediction.append(float(facts["seconds"]))

    def training_seconds(self, epochs_left: Mapping[str, int]) -> float | None:
        """Return the seconds of so many epochs of each configuration; None while nothing was measured."""
        if not self._epochs:
            return None if self._projected_hours is None else 3600 * self._projected_hours
        return sum(epochs * self._epoch_seconds(name) for name, epochs in epochs_left.items())

    def validation_seconds(self, cases_left: Mapping[str, float]) -> float:
        """Return the seconds of out-of-fold predictions of so many cases by each configuration."""
        usual = max(self._validation.values(), default=0.0)
        return sum(cases * self._validation.get(name, usual) for name, cases in cases_left.items())

    def prediction_seconds(self, cases: int, networks: Sequence[str]) -> float:
        """Return the seconds of so many test images by networks of the given configurations."""
        if self._prediction:
            return cases * statistics.median(self._prediction)
        usual = max(self._validation.values(), default=0.0)
        return cases * sum(self._validation.get(name, usual) for name in networks)

    def _epoch_seconds(self, name: str) -> float:
        if name in self._epochs:
            return statistics.median(self._epochs[name])
        known = next(iter(self._epochs))
        share: Any = 1.0
        if name in self._operations and known in self._operations:
            share = self._operations[name] / self._operations[known]
        return statistics.median(self._epochs[known]) * float(share)
