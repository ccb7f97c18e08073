"""The selected networks of a bundle, and what they make of one image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import UsageError
from nnbox.geometry import Grid, Placement
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.imaging.prepare import PreparedArrays, prepare_each
from nnbox.inference.export import original_values
from nnbox.inference.label_map import label_map
from nnbox.inference.manner import Manner
from nnbox.inference.predict import usual_effort
from nnbox.network.device import Device, card_errors
from nnbox.network.precision import choose_precision
from nnbox.records.precision import Precision
from nnbox.stages.footprint import Networks
from nnbox.stages.members import Member, load_member, mirrored
from nnbox.submission.bundle import ModelBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionSettings:
    """How a bundle is used.

    Attributes:
        folds: a subset of the bundle's folds, or None for all.
        mirroring: average mirrored passes.
        precision: in which the networks compute.
        replace_nonfinite: read non-finite voxels as 0.
        memory_limit_gb: what the process and all it starts may hold, or None for what the container's limits leave.
    """

    folds: tuple[int, ...] | None = None
    mirroring: bool = True
    precision: Precision = Precision.AUTO
    replace_nonfinite: bool = False
    memory_limit_gb: float | None = None


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
    """The selected networks of a bundle; loaded when the first case needs them, then kept.

    Attributes:
        manner: how much is done at once; may be changed between two cases, its ``keep_weights`` before the first.
    """

    def __init__(self, bundle: ModelBundle, device: Device, settings: PredictionSettings) -> None:
        self.bundle = bundle
        self.device = device
        self.settings = settings
        self.manner = Manner()
        self._require_folds()

    @property
    def networks(self) -> Networks:
        """What decides their memory; none is loaded for it."""
        plan, settings = self.bundle.plan, self.settings
        names = (*self.bundle.selection.members, *self.stage_names)
        named = {name: plan.configuration(name) for name in names}
        axes = {name: len(mirrored(plan, item, mirroring=settings.mirroring)) for name, item in named.items()}
        return Networks(
            plan=plan,
            selection=self.bundle.selection,
            folds={name: len(self._weights(name)) for name in names},
            passes={name: 2**count for name, count in axes.items()},
            efforts={name: usual_effort(item.patch_size, self.device.name) for name, item in named.items()},
            precision=choose_precision(settings.precision, self.device.name),
            on_card=self.device.is_cuda,
        )

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
        """Return the most probable class of every voxel of the crop, working order.

        Raises:
            CardFullError: the card's memory did not suffice.
        """
        with card_errors(self.device):
            return self._label(prepared)

    def _label(self, prepared: PreparedImage) -> NDArray[np.unsignedinteger]:
        first = {name: member.at(self.manner) for name, member in self.first_stages.items()}
        parts = []
        for member in (member.at(self.manner) for member in self.members):
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

    def _weights(self, name: str) -> dict[int, Path]:
        return {
            fold: path
            for (configuration, fold), path in self.bundle.weights.items()
            if configuration == name and (self.settings.folds is None or fold in self.settings.folds)
        }

    def _load(self, name: str) -> Member:
        plan, settings = self.bundle.plan, self.settings
        return load_member(
            plan,
            plan.configuration(name),
            self._weights(name),
            self.device,
            mirroring=settings.mirroring,
            precision=settings.precision,
            keep_weights=self.manner.keep_weights,
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
