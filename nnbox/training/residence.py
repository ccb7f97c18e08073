"""Where prepared cases lie while batches are made of them on a device: on it, in memory, or in mapped files.

The policy: on the device where all cases of a unit take at most `DEVICE_SHARE` of the memory that is free there before
training (the rest is the network's), or the part of that share that falls to each of several networks trained on the
device; else in the host's memory where they take at most `HOST_SHARE` of what may still be used there (other units and
stages need some, too) and no other process trains, which would hold the same cases once more; else in mapped files, of
which the system keeps in memory what it can, once for all. No shared memory (``/dev/shm``) is used. Host arrays are not
page-locked themselves: windows are cut out of them into a batch that is. Source: own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from nnbox.limits import available_memory_bytes, memory_in_use_bytes, unused_memory_bytes
from nnbox.records.engine import Residence
from nnbox.training.draw import CaseFacts, SamplingPlan
from nnbox.training.job import TrainingJob
from nnbox.training.pack import CaseVoxels
from nnbox.training.sample import MOST_OPEN_CASES, OpenCase, open_case
from nnbox.training.store import previous_paths, store_paths

DEVICE_SHARE = 0.3
HOST_SHARE = 0.4


def choose_residence(
    case_bytes: int, free_device_bytes: int | None, free_host_bytes: int, at_once: int | None = None
) -> Residence:
    """Choose where cases lie.

    Args:
        case_bytes: of a unit.
        free_device_bytes: None where the device is the host.
        free_host_bytes: what may still be used.
        at_once: see `TrainingJob`.
    """
    if free_device_bytes is not None and case_bytes <= DEVICE_SHARE * free_device_bytes / (at_once or 1):
        return Residence.DEVICE
    return Residence.HOST if at_once is None and case_bytes <= HOST_SHARE * free_host_bytes else Residence.MAPPED


def case_bytes(job: TrainingJob) -> int:
    """Return the size of the arrays of a unit's cases; what is missing counts nothing here and is told when read."""
    paths: list[Path] = []
    for case in (*job.training_cases, *job.validation_cases):
        paths.extend(store_paths(job.store, case)[:2])
        if job.previous_store is not None:
            paths.append(previous_paths(job.previous_store, case)[0])
    return sum(path.stat().st_size for path in paths if path.is_file())


def free_host_bytes() -> int:
    """Return what this process may still use of the host's memory: what its limits leave, if the machine has it."""
    left = max(0, available_memory_bytes() - (memory_in_use_bytes() or 0))
    unused = unused_memory_bytes()
    return left if unused is None else min(left, unused)


def label_type(job_labels: Iterable[int]) -> torch.dtype:
    """Return the smallest type for labels and -1."""
    return torch.int8 if max(job_labels, default=0) <= torch.iinfo(torch.int8).max else torch.int16


class Cases:
    """The cases of a unit, each taken to its place when it is first asked for, or all with `load`.

    Args:
        plan: of the unit's batches.
        residence: the place.
        device: of the training.
        labels: type of label maps on the device.
    """

    def __init__(self, plan: SamplingPlan, residence: Residence, device: torch.device, labels: torch.dtype) -> None:
        self._plan, self._residence, self._device, self._labels = plan, residence, device, labels
        self._facts: dict[str, CaseFacts] = {}
        self._kept: OrderedDict[str, CaseVoxels] = OrderedDict()

    def load(self) -> None:
        """Take all cases to a device, so that the first steps show how much of it a training holds.

        Cases that lie elsewhere are left to be asked for. See `open_case` for errors.
        """
        if self._residence is Residence.DEVICE:
            for name in (*self._plan.training_cases, *self._plan.validation_cases):
                self.voxels(name)

    def facts(self, name: str) -> CaseFacts:
        """Return what drawing needs to know; see `open_case` for errors."""
        if name not in self._facts:
            self._open(name)
        return self._facts[name]

    def voxels(self, name: str) -> CaseVoxels:
        """Return a case's arrays where they lie; see `open_case` for errors."""
        if name not in self._kept:
            self._open(name)
        self._kept.move_to_end(name)
        return self._kept[name]

    def _open(self, name: str) -> None:
        opened = open_case(self._plan, name)
        self._facts[name] = opened.facts
        self._kept[name] = self._placed(opened)
        if self._residence is Residence.MAPPED and len(self._kept) > MOST_OPEN_CASES:
            self._kept.popitem(last=False)  # each mapped array holds a file descriptor

    def _placed(self, case: OpenCase) -> CaseVoxels:
        arrays = case.arrays
        image, labels, previous = arrays.image, arrays.labels, arrays.previous
        if self._residence is Residence.MAPPED:
            return CaseVoxels(image=image, labels=labels, previous=previous)
        own = tuple(None if array is None else np.array(array) for array in (image, labels, previous))
        if self._residence is Residence.HOST or own[0] is None or own[1] is None:
            return CaseVoxels(image=own[0], labels=own[1], previous=own[2])  # type: ignore[arg-type]
        return CaseVoxels(
            image=torch.from_numpy(own[0]).to(self._device),
            labels=torch.from_numpy(own[1]).to(self._device, self._labels),
            previous=None if own[2] is None else torch.from_numpy(own[2]).to(self._device),
        )
