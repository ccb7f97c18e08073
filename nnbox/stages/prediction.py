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
from nnbox.imaging.prepare import prepare
from nnbox.inference.export import (
    average_probabilities,
    labels_on_prepared,
    labels_on_source,
    original_values,
    probabilities_on_crop,
)
from nnbox.network.device import Device
from nnbox.records.codec import digest
from nnbox.records.dataset import Case
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.members import Member, load_member
from nnbox.stages.receipts import Unit
from nnbox.submission.bundle import ModelBundle

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a bundle is used.

    Attributes:
        folds: a subset of the bundle's folds, or None for all.
        mirroring: average mirrored passes.
        replace_nonfinite: read non-finite voxels as 0.
    """

    folds: tuple[int, ...] | None = None
    mirroring: bool = True
    replace_nonfinite: bool = False


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
        names = {member.configuration.previous for member in self.members}
        return {name: self._load(name) for name in sorted(name for name in names if name is not None)}

    def predict(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.unsignedinteger]:
        """Return the label map, original values, (z, y, x) of the source grid.

        Softmax is averaged over the folds' models and over the members, then arg-max, then post-processing.
        Source: 2018 §2.4, §2.5, §2.6; 2019 §2.3.
        """
        first: dict[str, tuple[NDArray[np.float32], Placement]] = {}
        maps = []
        placement: Placement | None = None
        for member in self.members:
            probabilities, placement = self._member(member, image, grid, first)
            maps.append(probabilities)
        if placement is None:
            raise ValueError("the selection has no members")
        labels = labels_on_source(average_probabilities(maps), placement)
        labels = apply_postprocessing(labels, self.bundle.selection.postprocessing)
        return original_values(labels, self.bundle.plan.labels)

    def _member(
        self,
        member: Member,
        image: NDArray[np.float32],
        grid: Grid,
        first: dict[str, tuple[NDArray[np.float32], Placement]],
    ) -> tuple[NDArray[np.float32], Placement]:
        plan = self.bundle.plan
        arrays = prepare(image, None, grid, plan, member.configuration)
        previous = None
        if (name := member.configuration.previous) is not None:
            stage = self.first_stages[name]
            if name not in first:
                low = prepare(image, None, grid, plan, stage.configuration)
                first[name] = (stage.predict(low.image, None), low.placement)
            coarse, coarse_placement = first[name]
            previous = labels_on_prepared(coarse, coarse_placement, arrays.placement, stage.configuration.resampling)
        probabilities = member.predict(arrays.image, previous)
        on_crop = probabilities_on_crop(probabilities, arrays.placement, member.configuration.resampling)
        return on_crop, arrays.placement

    def _load(self, name: str) -> Member:
        weights = {
            fold: path
            for (configuration, fold), path in self.bundle.weights.items()
            if configuration == name and (self.settings.folds is None or fold in self.settings.folds)
        }
        configuration = self.bundle.plan.configuration(name)
        return load_member(self.bundle.plan, configuration, weights, self.device, mirroring=self.settings.mirroring)

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


def predict_all(context: Context, taken: TakenIn, cases: Sequence[Case], ensemble: Ensemble) -> tuple[Path, ...]:
    """Predict every case that has no prediction yet by this model; return the label maps, in the order of the cases."""
    units = prediction_units(context, taken, cases, ensemble.bundle, ensemble.settings)
    for number, (unit, case) in enumerate(zip(units, cases, strict=True), start=1):
        if context.receipts.is_done(unit):
            context.journal.note("skipped", f"{case.name} is predicted already", {"case": case.name})
            continue
        started = time.monotonic()
        image, grid = read_image(
            [context.root / path for path in case.images], replace_nonfinite=ensemble.settings.replace_nonfinite
        )
        labels = ensemble.predict(image, grid)
        write_labels(unit.outputs[0], labels, grid)
        seconds = time.monotonic() - started
        context.receipts.write(unit, seconds=seconds)
        context.journal.say(
            "predicted",
            f"predicted {case.name} ({number} of {len(cases)}) in {seconds:.1f} s",
            {"case": case.name, "seconds": round(seconds, 2), "foreground_voxels": int((labels > 0).sum())},
        )
        if not labels.any():
            context.journal.warn("empty", f"{case.name}: the prediction holds background only", {"case": case.name})
    return tuple(unit.outputs[0] for unit in units)
