"""What the machine (or the container's limits) offers, compared with what the plan needs, before work begins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import ResourceError
from nnbox.limits import available_cpus, available_memory_bytes, available_processes
from nnbox.network.counting import parameter_count
from nnbox.network.device import Device
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Plan
from nnbox.records.precision import Precision

_MAIN_BYTES, _WORKER_BYTES = 2e9, 0.5e9
_MAIN_THREADS, _WORKER_THREADS = 64, 16
_USED_SHARE = 0.9
_BYTES_PER_GB = 1e9


def worker_count(asked: int | None) -> int:
    """Return how many worker processes to use: what was asked for, else as many as CPUs, memory and limits allow.

    Source: own. The main process is counted with 2 GB, a worker with 0.5 GB and 16 processes or threads; stages that
    know their cases' sizes use fewer (`fitting`).
    """
    if asked is not None:
        return asked
    count = min(available_cpus(), fitting(_WORKER_BYTES))
    if (processes := available_processes()) is not None:
        count = min(count, (processes - _MAIN_THREADS) // _WORKER_THREADS)
    return max(1, count)


def fitting(bytes_each: float) -> int:
    """Return how many pieces of work of that size fit into the memory at once, at least 1."""
    return max(1, int((_USED_SHARE * available_memory_bytes() - _MAIN_BYTES) / bytes_each))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskNeed:
    """Bytes a run will write, by what for."""

    prepared_bytes: int
    validation_bytes: int
    weights_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.prepared_bytes + self.validation_bytes + self.weights_bytes


def disk_need(plan: Plan, fingerprint: Fingerprint) -> DiskNeed:
    """Estimate what a run writes: prepared cases, stored probabilities, checkpoints and weights. Source: own.

    Prepared: 4 bytes per channel and 2 for labels per prepared voxel, per store. Stored probabilities: one byte per
    class and source voxel before compression (the upper end). Weights: 4 bytes per parameter, kept as final weights, as
    a checkpoint with Adam's three moments, and in the bundle.
    """
    stores: dict[str, int] = {}
    for configuration in plan.configurations:
        stores.setdefault(configuration.store, _prepared_voxels(plan, fingerprint, configuration.name))
    per_voxel = 4 * len(plan.channels) + 2
    source_voxels = sum(_product(case.shape_vox) for case in fingerprint.cases)
    classes = len(plan.labels) + 1
    folds = min(5, max(2, len(fingerprint.cases)))
    parameters = sum(parameter_count(configuration.topology) for configuration in plan.configurations)
    return DiskNeed(
        prepared_bytes=per_voxel * sum(stores.values()),
        validation_bytes=classes * source_voxels * len(plan.configurations),
        weights_bytes=4 * 6 * folds * parameters,
    )


def _prepared_voxels(plan: Plan, fingerprint: Fingerprint, name: str) -> int:
    target = plan.configuration(name).resampling.target_spacing_mm
    total = 0.0
    for case in fingerprint.cases:
        voxels = 1.0
        for axis, wanted in zip(plan.axis_order, target, strict=True):
            factor = 1.0 if wanted is None else case.spacing_mm[axis] / wanted
            voxels *= max(1.0, case.shape_vox[axis] * factor)
        total += voxels
    return int(total)


def _product(values: tuple[int, ...]) -> int:
    result = 1
    for value in values:
        result *= value
    return result


def require_disk(folder: Path, need: DiskNeed) -> None:
    """Compare free disk with the estimate.

    Raises:
        ResourceError: less is free than the run will write.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < need.total_bytes:
        raise ResourceError(
            f"{folder} has {_gb(free)} free; this run writes about {_gb(need.total_bytes)} (prepared cases "
            f"{_gb(need.prepared_bytes)}, stored probabilities {_gb(need.validation_bytes)}, weights "
            f"{_gb(need.weights_bytes)}). What to do: choose another --output, free some space, or train fewer "
            "--configurations."
        )


def _gb(count: int) -> str:
    return f"{count / _BYTES_PER_GB:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def require_precision(device: Device, precision: Precision) -> None:
    """See before any work that the device computes in what was asked for.

    Raises:
        ResourceError: it does not.
    """
    from nnbox.network.precision import choose_precision  # noqa: PLC0415 - torch, imported with the device

    choose_precision(precision, device.name)


def require_card(device: Device, plan: Plan) -> None:
    """Compare the card's memory with what the plan was made for.

    Raises:
        ResourceError: the card is smaller than the plan's memory budget.
    """
    if device.memory_bytes is None:
        return
    card_gb = device.memory_bytes / _BYTES_PER_GB
    # A "12 GB card" reports a little less than 12e9 bytes as free for use.
    if card_gb < 0.9 * plan.planning_memory_gb:
        raise ResourceError(
            f"the plan is made for a card of {plan.planning_memory_gb:g} GB; {device.name} ({device.description}) has "
            f"{card_gb:.1f} GB. What to do: plan for it with --planning-memory {card_gb:.0f}, or use a larger card."
        )
