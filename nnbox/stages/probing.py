"""What training and predicting cost here, measured for a time budget on copies that change no result."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.inference.export import probabilities_on_crop, store_probabilities
from nnbox.inference.manner import Manner
from nnbox.network.device import card_errors
from nnbox.network.unet import build_network
from nnbox.records.plan import ConfigurationPlan
from nnbox.records.prepared import PreviousPrediction
from nnbox.stages.context import Context
from nnbox.stages.costs import Costs
from nnbox.stages.full_card import MORE_MEMORY, Asked, answered
from nnbox.stages.job import Job
from nnbox.stages.members import load_member
from nnbox.stages.probing_ending import Probed, measure_ending, usual_seconds
from nnbox.training.checkpoint import write_tensors
from nnbox.training.job import TrainingJob
from nnbox.training.loader import WorkerPool
from nnbox.training.loop import train_fold
from nnbox.training.progress import EpochRecord, Report
from nnbox.training.store import load_image, load_labels, load_prepared, write_previous

_STEPS = 5
_SHARE = 0.005
_LEAST_SECONDS, _MOST_SECONDS = 1.5, 60.0
_PREVIOUS_CASES = 3


class _EnoughError(Exception):
    """Ends a training that was only begun to be measured."""


class _Stopwatch:
    """Is told of the epochs of a training, and ends it after a while, when at least two were seen."""

    def __init__(self, allowed_seconds: float) -> None:
        self._allowed = allowed_seconds
        self._began = self._first = time.monotonic()
        self.start_seconds = 0.0
        self._ends: list[float] = []

    def __call__(self, news: Report) -> None:
        if not isinstance(news, EpochRecord):
            return
        now = time.monotonic()
        if not self._ends:
            self.start_seconds = now - self._began
        self._ends.append(now)
        if len(self._ends) > 2 and now - self._began > self._allowed:
            raise _EnoughError
        if len(self._ends) > 1 and now - self._began > 3 * self._allowed:
            raise _EnoughError

    @property
    def epoch_seconds(self) -> float:
        """Seconds of an epoch, the first left out, which also warms up."""
        return statistics.mean(after - before for before, after in zip(self._ends, self._ends[1:], strict=False))


def measure(
    context: Context, job: Job, pool: WorkerPool, budget_seconds: float, works: Mapping[str, TrainingJob]
) -> Costs:
    """Measure every configuration of a run.

    Args:
        context: of the run.
        job: the planned task.
        pool: the workers that will serve the trainings.
        budget_seconds: half a percent of it, but at least 1.5 s and at most a minute, goes into the training of each
            configuration, and at most as much into each other thing that is measured.
        works: a training of each configuration.
    """
    costs = Costs()
    folder = context.workspace.probe(context.journal.run or "alone")
    shutil.rmtree(folder, ignore_errors=True)
    allowed = min(max(_SHARE * budget_seconds, _LEAST_SECONDS), _MOST_SECONDS)
    try:
        first = next(iter(works))
        # What a process does once, whatever is trained first, is no cost of that configuration.
        _measure_training(_throw_away(works[first], folder / "warm-up"), pool, 0.0, Costs())
        probed: dict[str, Probed] = {}
        for name, work in works.items():
            _measure_training(_throw_away(work, folder / name), pool, allowed, costs)
            probed[name] = _measure_prediction(context, job, work, (folder / name, allowed), costs)
        costs.ending = measure_ending(context, job, probed, allowed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return costs


def _throw_away(work: TrainingJob, folder: Path) -> TrainingJob:
    """Return a training like the real one whose files are nobody's; a first stage's predictions are made up."""
    copy = replace(work, folder=folder, iterations=_STEPS, epochs=None, laid_out_epochs=None)
    if work.previous_store is None:
        return copy
    training, validation = work.training_cases[: _PREVIOUS_CASES - 1], work.validation_cases[:1]
    for case in (*training, *validation):
        labels = np.maximum(load_labels(work.store, case), 0)
        origin = PreviousPrediction(case=case, configuration="made up", model_folds=(), trained_on=())
        write_previous(folder / "previous", labels, origin)
    return replace(copy, training_cases=training, validation_cases=validation, previous_store=folder / "previous")


def _measure_training(work: TrainingJob, pool: WorkerPool, allowed_seconds: float, costs: Costs) -> None:
    watch = _Stopwatch(allowed_seconds)
    try:
        train_fold(work, report=watch, pool=pool)
    except _EnoughError:
        name = work.configuration.name
        costs.step[name] = watch.epoch_seconds / _STEPS
        costs.start[name] = max(0.0, watch.start_seconds - watch.epoch_seconds)


def _measure_prediction(
    context: Context, job: Job, work: TrainingJob, bounds: tuple[Path, float], costs: Costs
) -> Probed:
    """Predict one case of middling size with random weights and keep its probabilities.

    ``bounds`` are the folder that is written to and the seconds that it may be repeated for.

    Raises:
        CardFullError: the card has no room for it with everything held back.
    """
    folder, allowed_seconds = bounds
    plan, configuration = job.plan, work.configuration
    weights = folder / "random.safetensors"
    write_tensors(weights, build_network(configuration.topology, seed=0).state_dict())
    case, share = _middling(work)
    previous = None
    if configuration.previous is not None:
        previous = np.maximum(load_labels(work.store, case), 0).astype(np.uint8)
    began = time.monotonic()
    member = load_member(plan, configuration, {0: weights}, job.device, mirroring=True)
    costs.opening[configuration.name] = time.monotonic() - began
    placement, stored = load_prepared(work.store, case).placement, folder / f"{case}.npz"
    probed = Probed(
        case=case,
        member=member,
        manner=Manner(),
        weights=weights,
        stored=stored,
        store=work.store,
        previous=previous,
    )

    def predict() -> None:
        image = np.array(load_image(work.store, case))

        def ask(manner: Manner) -> NDArray[np.float32]:
            with card_errors(job.device):
                return member.at(manner).predict(image, previous)

        asked = Asked(case=case, shape_vox=image.shape[1:], device=job.device, remedy=MORE_MEMORY)
        probabilities, probed.manner = answered(ask, probed.manner, asked, context.journal)
        store_probabilities(stored, probabilities_on_crop(probabilities, placement, configuration.resampling))

    costs.case[configuration.name] = share * usual_seconds(predict, allowed_seconds)
    return probed


def _middling(work: TrainingJob) -> tuple[str, float]:
    """Return the case of middling size, and how much larger the mean case is."""
    cases = (*work.training_cases, *work.validation_cases)
    voxels = {case: _voxels(work.configuration, work.store, case) for case in cases}
    middle = sorted(cases, key=lambda case: voxels[case])[len(cases) // 2]
    return middle, statistics.mean(voxels.values()) / voxels[middle]


def _voxels(configuration: ConfigurationPlan, store: Path, case: str) -> int:
    return int(np.prod(load_prepared(store, case).placement.prepared_shape_vox))
