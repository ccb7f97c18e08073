"""What predicting a case holds in memory, phase by phase, from headers and the plan alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnbox.geometry import Placement, Shape3
from nnbox.imaging.memory import SourceSize, checking_bytes, prepared_bytes, reading_bytes, writing_bytes
from nnbox.imaging.prepare import require_memory
from nnbox.inference.export import separate_axis_back
from nnbox.inference.footprint import SweepSize, sweep_bytes
from nnbox.inference.manner import Manner
from nnbox.inference.passes import Effort
from nnbox.network.forward_memory import weights_bytes
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.records.precision import Precision
from nnbox.records.results import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """What is asked of the networks, whatever the case.

    Attributes:
        plan: of the task.
        selection: the members and their post-processing.
        folds: networks of a configuration.
        passes: mirrored passes of a configuration.
        efforts: what is usually done at once, by configuration, first stages included.
        precision: settled.
        on_card: they lie on a CUDA device.
    """

    plan: Plan
    selection: Selection
    folds: Mapping[str, int]
    passes: Mapping[str, int]
    efforts: Mapping[str, Effort]
    precision: Precision
    on_card: bool

    @property
    def members(self) -> tuple[ConfigurationPlan, ...]:
        """The chosen configurations."""
        return tuple(map(self.plan.configuration, self.selection.members))

    @property
    def label_bytes(self) -> int:
        """Of a label while it is one of consecutive numbers or an original value."""
        return 1 if len(self.plan.labels) < 255 and self.plan.labels[-1].value < 256 else 2

    def weights_bytes(self, manner: Manner) -> int:
        """Return what weights take: of every network, or of the largest alone."""
        each = {name: weights_bytes(self.plan.configuration(name).topology) for name in self.efforts}
        return sum(each[name] * self.folds[name] for name in each) if manner.keep_weights else max(each.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFootprint:
    """The bytes a case holds, beside what the process holds already.

    Attributes:
        reading: at most while it is read and prepared.
        prepared: from then on until its labels are there.
        asking: at most beside that, on the host, while the networks are asked; weights included.
        labels: from then on until it is written.
        writing: at most while it is written and looked at again; its labels included.
        card: at most on the card; weights included.
    """

    reading: int
    prepared: int
    asking: int
    labels: int
    writing: int
    card: int


def case_footprint(source: SourceSize, networks: Networks, manner: Manner) -> CaseFootprint:
    """Add up a case; where an image is cropped it needs less.

    Raises:
        ResourceError: the plan's spacing makes an image that is larger than the memory.
    """
    plan, named = networks.plan, [networks.plan.configuration(name) for name in networks.efforts]
    ways = {item.name: source.way(plan, item) for item in named}
    placements = {name: way.placement for name, way in ways.items()}
    for placement in placements.values():
        require_memory(len(plan.channels), placement)  # else the walk over its tiles takes for ever, too
    label_bytes = networks.label_bytes
    labels = label_bytes * source.voxels
    sums = _sweeps_bytes(networks, placements, manner)
    weights = networks.weights_bytes(manner)
    previous = sum(
        label_bytes * math.prod(placements[item.name].prepared_shape_vox) for item in networks.members if item.previous
    )
    writing = writing_bytes(source.grid.shape_vox, label_bytes, components=bool(networks.selection.postprocessing))
    return CaseFootprint(
        reading=reading_bytes(
            source,
            list(ways.values()),
            masked=any(item.use_nonzero_mask for item in plan.normalizations),
        ),
        prepared=prepared_bytes(source, list(ways.values())),
        asking=labels + previous + (0 if networks.on_card else sums + weights),
        labels=labels,
        writing=max(writing, checking_bytes(source.grid.shape_vox, label_bytes)),
        card=sums + weights if networks.on_card else 0,
    )


def together_bytes(cases: Sequence[CaseFootprint], *, ahead: bool) -> int:
    """Return the most that the cases need one after the other, or with each read and written beside its neighbours."""
    alone = [max(case.reading, case.prepared + case.asking, case.writing) for case in cases]
    if not ahead:
        return max(alone)
    peaks = list(alone)
    for index, case in enumerate(cases):
        following = cases[index + 1].reading if index + 1 < len(cases) else 0
        before = cases[index - 1].writing if index else 0
        peaks.append(case.prepared + case.asking + following + before)
    return max(peaks)


def _sweeps_bytes(networks: Networks, placements: Mapping[str, Placement], manner: Manner) -> int:
    """Return what the sweeps of all members hold together, or that of a first stage before them."""
    members, together, alone = networks.members, 0, 0
    for item in members:
        target = placements[item.name].crop.shape_vox
        size = _sweep_size(networks, item, placements[item.name], target, together=len(members) > 1)
        together += sweep_bytes(size, manner.effort(networks.efforts[item.name]), halves=manner.halves)
        if item.previous is not None:
            first = networks.plan.configuration(item.previous)
            target = placements[item.name].prepared_shape_vox
            size = _sweep_size(networks, first, placements[first.name], target, together=False)
            alone = max(alone, sweep_bytes(size, manner.effort(networks.efforts[first.name]), halves=manner.halves))
    return max(together, alone)


def _sweep_size(
    networks: Networks, item: ConfigurationPlan, placement: Placement, target: Shape3, *, together: bool
) -> SweepSize:
    shape = placement.prepared_shape_vox
    apart = separate_axis_back(placement, item.resampling)
    z, y = (shape[axis] not in {1, target[axis]} and axis != apart for axis in (0, 1))
    return SweepSize(
        topology=item.topology,
        patch_size=item.patch_size,
        shape_vox=shape,
        interpolated=(z, y),
        calls=networks.folds[item.name] * networks.passes[item.name],
        precision=networks.precision,
        together=together,
        on_card=networks.on_card,
    )
