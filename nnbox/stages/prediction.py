"""New images to label maps on their own grids, with everything taken from a model bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Grid, Placement
from nnbox.imaging.as_taken import require_as_taken
from nnbox.imaging.io import read_image, write_labels
from nnbox.inference.manner import Manner
from nnbox.records.codec import digest
from nnbox.records.dataset import Case
from nnbox.records.endings import image_ending
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.ensemble import Ensemble, PredictionSettings, PreparedImage
from nnbox.stages.full_card import Asked, answered
from nnbox.stages.memory import settle
from nnbox.stages.overlap import Steps, overlapped
from nnbox.stages.receipts import Unit
from nnbox.submission.bundle import ModelBundle

VERSION = 2
_NAMED = 5


def prediction_units(
    context: Context, taken: TakenIn, cases: Sequence[Case], bundle: ModelBundle, settings: PredictionSettings
) -> list[Unit]:
    """Return one unit per case."""
    common = {
        "model": digest(bundle.manifest),
        "option folds": "all" if settings.folds is None else ",".join(map(str, settings.folds)),
        "option mirroring": str(settings.mirroring),
        "option precision": settings.precision.value,
        "option replace-nonfinite": str(settings.replace_nonfinite),
    }
    return [
        Unit(
            name=f"prediction/{case.name}",
            version=VERSION,
            inputs=common | taken.image_digests(case),
            outputs=(context.workspace.predictions / case.output_name,),
        )
        for case in cases
    ]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A case to predict: what number it has, what it is, and the unit that it becomes."""

    number: int
    case: Case
    unit: Unit


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    waiting: _Waiting
    prepared: PreparedImage
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    waiting: _Waiting
    labels: NDArray[np.unsignedinteger]
    placement: Placement
    grid: Grid
    seconds: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Written:
    waiting: _Waiting
    foreground_voxels: int
    seconds: tuple[float, float, float]


class _Steps:
    """What is done with one case: read and prepare, ask the networks, write."""

    def __init__(self, context: Context, taken: TakenIn, ensemble: Ensemble) -> None:
        self._root = context.root
        self._taken = taken
        self._journal = context.journal
        self._ensemble = ensemble

    def read(self, waiting: _Waiting) -> _Read:
        started = time.monotonic()
        replace_nonfinite = self._ensemble.settings.replace_nonfinite
        paths = [self._root / path for path in waiting.case.images]
        image, grid = read_image(paths, replace_nonfinite=replace_nonfinite)
        require_as_taken(self._taken.states(self._root, waiting.case))
        prepared = self._ensemble.prepare(image, grid)
        return _Read(waiting, prepared, time.monotonic() - started)

    def work(self, read: _Read) -> _Labelled:
        started = time.monotonic()
        labels = self._labels(read)
        seconds = (read.seconds, time.monotonic() - started)
        return _Labelled(read.waiting, labels, read.prepared.placement, read.prepared.grid, seconds)

    def _labels(self, read: _Read) -> NDArray[np.unsignedinteger]:
        """Ask the networks; where the card turns out to be full, hold one thing more back and ask again.

        Raises:
            CardFullError: nothing is left to hold back.
        """
        case = read.waiting.case.name
        asked = Asked(
            case=case,
            shape_vox=read.prepared.grid.shape_vox,
            device=self._ensemble.device,
            remedy=f"use fewer --folds; or leave the case out with --exclude {case}",
        )

        def ask(manner: Manner) -> NDArray[np.unsignedinteger]:
            self._ensemble.manner = manner
            return self._ensemble.label(read.prepared)

        labels, _ = answered(ask, self._ensemble.manner, asked, self._journal)
        return labels

    def write(self, labelled: _Labelled) -> _Written:
        started = time.monotonic()
        labels = self._ensemble.finish(labelled.labels, labelled.placement)
        write_labels(labelled.waiting.unit.outputs[0], labels, labelled.grid)
        count = int(np.count_nonzero(labels))
        return _Written(labelled.waiting, count, (*labelled.seconds, time.monotonic() - started))


def predict_all(context: Context, taken: TakenIn, cases: Sequence[Case], ensemble: Ensemble) -> tuple[Path, ...]:
    """Predict every case that has no prediction yet by this model; return the label maps, in the order of the cases."""
    units = prediction_units(context, taken, cases, ensemble.bundle, ensemble.settings)
    waiting = []
    for number, (unit, case) in enumerate(zip(units, cases, strict=True), start=1):
        if context.receipts.is_done(unit):
            context.journal.note("skipped", f"{case.name} is predicted already", {"case": case.name})
        else:
            waiting.append(_Waiting(number, case, unit))
    if waiting:
        limit_gb = ensemble.settings.memory_limit_gb
        found = settle(context, [item.case for item in waiting], ensemble.networks, ensemble.device, limit_gb)
        ensemble.manner = found.manner
    own = _Steps(context, taken, ensemble)
    for written in overlapped(Steps(own.read, own.work, own.write), waiting, ahead=ensemble.manner.ahead):
        _tell(context, written, len(cases))
    _tell_left(context, units)
    return tuple(unit.outputs[0] for unit in units)


def _tell_left(context: Context, units: Sequence[Unit]) -> None:
    """Say which label maps lie there whose images are no longer asked for: who takes the folder takes them, too."""
    wanted = {path for unit in units for path in unit.outputs}
    there = (path for path in context.workspace.predictions.iterdir() if image_ending(path.name) and path not in wanted)
    if left := sorted(path.name for path in there if not path.name.startswith(".")):
        shown = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED} more" if len(left) > _NAMED else "")
        context.journal.warn(
            "left_predictions",
            f"{context.workspace.predictions} still holds {shown}, of images that are not among the "
            f"{len(wanted)} to predict; the archive does not. What to do: delete what is not wanted.",
            {"files": left},
        )


def _tell(context: Context, written: _Written, count: int) -> None:
    """Say that a case is predicted; then leave its receipt, so that a run killed in between says it once more."""
    case, journal = written.waiting.case, context.journal
    seconds = sum(written.seconds)
    parts = dict(zip(("read_seconds", "network_seconds", "write_seconds"), written.seconds, strict=True))
    journal.say(
        "predicted",
        f"predicted {case.name} ({written.waiting.number} of {count}) in {seconds:.1f} s",
        {
            "case": case.name,
            "seconds": round(seconds, 2),
            **{name: round(value, 3) for name, value in parts.items()},
            "foreground_voxels": written.foreground_voxels,
        },
    )
    if not written.foreground_voxels:
        journal.warn("empty", f"{case.name}: the prediction holds background only", {"case": case.name})
    context.receipts.write(written.waiting.unit, seconds=seconds)
