"""New images to label maps on their own grids, with everything taken from a model bundle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import UsageError
from nnbox.geometry import Grid, Placement
from nnbox.imaging.io import read_image, write_labels
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.imaging.prepare import PreparedArrays, prepare_each
from nnbox.inference.export import original_values
from nnbox.inference.label_map import label_map
from nnbox.network.device import Device
from nnbox.records.codec import digest
from nnbox.records.dataset import Case
from nnbox.records.precision import Precision
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.members import Member, load_member
from nnbox.stages.overlap import Steps, overlapped
from nnbox.stages.receipts import Unit
from nnbox.submission.bundle import ModelBundle

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a bundle is used.

    Attributes:
        folds: a subset of the bundle's folds, or None for all.
        mirroring: average mirrored passes.
        precision: in which the networks compute.
        replace_nonfinite: read non-finite voxels as 0.
    """

    folds: tuple[int, ...] | None = None
    mirroring: bool = True
    precision: Precision = Precision.AUTO
    replace_nonfinite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedImage:
    """A case as the networks of an ensemble see it.

    Attributes:
        grid: of the source image.
        placement: of the crop; the same for all configurations, but for what is prepared.
        arrays: by configuration.
    """

    grid: Grid
    placement: Placement
    arrays: dict[str, PreparedArrays]


class Ensemble:
    """The selected networks of a bundle; loaded when the first case needs them, then kept."""

    def __init__(self, bundle: ModelBundle, device: Device, settings: PredictionSettings) -> None:
        self.bundle = bundle
        self.device = device
        self.settings = settings
        self._require_folds()

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The chosen configurations, each with its networks."""
        return tuple(self._load(name) for name in self.bundle.selection.members)

    @cached_property
    def first_stages(self) -> dict[str, Member]:
        """The first stages that members need, by configuration."""
        return {name: self._load(name) for name in self.stage_names}

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The configurations whose labels members read, sorted."""
        plan = self.bundle.plan
        names = {plan.configuration(name).previous for name in self.bundle.selection.members}
        return tuple(sorted(name for name in names if name is not None))

    def predict(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.unsignedinteger]:
        """Return the label map, original values, (z, y, x) of the source grid.

        Softmax is averaged over the folds' models and over the members, then arg-max, then post-processing.
        Source: 2018 §2.4, §2.5, §2.6; 2019 §2.3.
        """
        prepared = self.prepare(image, grid)
        return self.finish(self.label(prepared), prepared.placement)

    def prepare(self, image: NDArray[np.float32], grid: Grid) -> PreparedImage:
        """Bring an image to the grid of every configuration that sees it; no network is asked."""
        plan = self.bundle.plan
        names = (*self.bundle.selection.members, *self.stage_names)
        found = prepare_each(image, None, grid, plan, [plan.configuration(name) for name in names])
        return PreparedImage(grid=grid, placement=found[0].placement, arrays=dict(zip(names, found, strict=True)))

    def label(self, prepared: PreparedImage) -> NDArray[np.unsignedinteger]:
        """Return the most probable class of every voxel of the crop, working order."""
        first: dict[str, Member] = self.first_stages
        parts = []
        for member in self.members:
            arrays, previous = prepared.arrays[member.configuration.name], None
            if (name := member.configuration.previous) is not None:
                low = prepared.arrays[name]
                part = first[name].part(low.image, low.placement, None)
                previous = label_map([part], arrays.placement.prepared_shape_vox)
            parts.append(member.part(arrays.image, arrays.placement, previous))
        return label_map(parts, prepared.placement.crop.shape_vox)

    def finish(self, labels: NDArray[np.unsignedinteger], placement: Placement) -> NDArray[np.unsignedinteger]:
        """Put labels of the crop back on the source grid, post-process them, and give them their original values."""
        whole = placement.restore(labels)
        if steps := self.bundle.selection.postprocessing:
            whole = apply_postprocessing(whole, steps)
        return original_values(whole, self.bundle.plan.labels)

    def _load(self, name: str) -> Member:
        weights = {
            fold: path
            for (configuration, fold), path in self.bundle.weights.items()
            if configuration == name and (self.settings.folds is None or fold in self.settings.folds)
        }
        plan, settings = self.bundle.plan, self.settings
        return load_member(
            plan,
            plan.configuration(name),
            weights,
            self.device,
            mirroring=settings.mirroring,
            precision=settings.precision,
        )

    def _require_folds(self) -> None:
        for name, folds in self.bundle.selection.folds.items():
            missing = sorted(set(self.settings.folds or ()) - set(folds))
            if missing:
                raise UsageError(
                    f"--folds {','.join(map(str, missing))}: the model has folds {','.join(map(str, folds))} of "
                    f"{name}. "
                    "What to do: name folds it has, or leave --folds out"
                )


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

    def __init__(self, context: Context, ensemble: Ensemble) -> None:
        self._root = context.root
        self._ensemble = ensemble

    def read(self, waiting: _Waiting) -> _Read:
        started = time.monotonic()
        replace_nonfinite = self._ensemble.settings.replace_nonfinite
        paths = [self._root / path for path in waiting.case.images]
        image, grid = read_image(paths, replace_nonfinite=replace_nonfinite)
        prepared = self._ensemble.prepare(image, grid)
        return _Read(waiting, prepared, time.monotonic() - started)

    def work(self, read: _Read) -> _Labelled:
        started = time.monotonic()
        labels = self._ensemble.label(read.prepared)
        seconds = (read.seconds, time.monotonic() - started)
        return _Labelled(read.waiting, labels, read.prepared.placement, read.prepared.grid, seconds)

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
    own = _Steps(context, ensemble)
    for written in overlapped(Steps(own.read, own.work, own.write), waiting, ahead=True):
        _tell(context, written, len(cases))
    return tuple(unit.outputs[0] for unit in units)


def _tell(context: Context, written: _Written, count: int) -> None:
    """Leave the receipt of a predicted case and say so."""
    case, journal = written.waiting.case, context.journal
    seconds = sum(written.seconds)
    context.receipts.write(written.waiting.unit, seconds=seconds)
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
