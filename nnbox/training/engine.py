"""What a training runs on, settled once: every ``auto`` becomes a choice with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from nnbox.network.counting import operations_per_voxel
from nnbox.network.device import choose_device, free_card_bytes
from nnbox.network.precision import choose_precision
from nnbox.network.trial import kernels_refused
from nnbox.network.widened import MULTIPLE, is_narrow
from nnbox.records.engine import AugmentationPath, Engine, EngineWishes, NormKind, Residence, SpeedUp
from nnbox.records.precision import Precision
from nnbox.training.job import TrainingJob
from nnbox.training.residence import case_bytes, choose_residence, free_host_bytes
from nnbox.training.trial import training_kernels_refused

GRAPH_OPERATIONS = 1e13
"""Multiply-adds of a batch's forward pass; with fewer, launching kernels may take longer than running them while a
thread prepares batches beside it: on an H200 a step of 8e11 took 27 ms alone and 34 ms so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the choices depend on, beside the wishes.

    Attributes:
        device: as torch spells it.
        operations: multiply-adds of a batch's forward pass.
        narrow: the network has features whose number is no multiple of `nnbox.network.widened.MULTIPLE`.
        kernels_refused: why the network's Triton kernels do not run there; None: they do, or nobody asked.
        training_kernels_refused: the same of a training's own.
        case_bytes: of the unit's prepared cases.
        free_device_bytes: on a GPU, before training; else None.
        free_host_bytes: of memory.
        at_once: see `TrainingJob`.
    """

    device: str
    operations: float
    narrow: bool
    kernels_refused: str | None
    training_kernels_refused: str | None
    case_bytes: int
    free_device_bytes: int | None
    free_host_bytes: int
    at_once: int | None = None


def settled(wishes: EngineWishes, device: str) -> EngineWishes:
    """Replace ``auto`` by what the device gets. What decides the weights is then in the record.

    Raises:
        ResourceError: the device cannot compute in the precision that was asked for.
    """
    augmentation = wishes.augmentation
    if augmentation is AugmentationPath.AUTO:
        on_gpu = torch.device(device).type == "cuda"
        augmentation = AugmentationPath.GPU if on_gpu else AugmentationPath.CPU
    precision = choose_precision(wishes.precision, device)
    return replace(wishes, precision=precision, augmentation=augmentation)


def choose_engine(wishes: EngineWishes, around: Surroundings) -> Engine:
    """Settle everything for one training; pure. Source: own.

    Args:
        wishes: already `settled`.
        around: what the choices depend on.
    """
    on_gpu = torch.device(around.device).type == "cuda"
    norm, norm_reason = _norm(wishes, around, on_gpu=on_gpu)
    kernels, kernels_reason = _kernels(wishes, around, on_gpu=on_gpu)
    wide, wide_reason = _wide(wishes, around, on_gpu=on_gpu)
    graphs, graphs_reason = _graphs(wishes, around, on_gpu=on_gpu)
    residence, residence_reason = _residence(wishes, around)
    channels_last = SpeedUp.CHANNELS_LAST not in wishes.without
    fused_adam = SpeedUp.FUSED_ADAM not in wishes.without
    scaled = " with loss scaling" if wishes.precision is Precision.FP16 else ""
    who = "batchgenerators in workers" if wishes.augmentation is AugmentationPath.CPU else "torch on the device"
    return Engine(
        device=around.device,
        precision=wishes.precision,
        norm=norm,
        channels_last=channels_last,
        wide=wide,
        fused_adam=fused_adam,
        kernels=kernels,
        graphs=graphs,
        augmentation=wishes.augmentation,
        residence=residence,
        reasons=(
            f"convolutions in {wishes.precision}{scaled}",
            f"features {'side by side (channels last)' if channels_last else 'in planes (switched off)'}",
            wide_reason,
            norm_reason,
            kernels_reason,
            f"Adam {'as one operation' if fused_adam else 'weight by weight (switched off)'}",
            graphs_reason,
            f"augmentation by {who}",
            residence_reason,
        ),
    )


def settle_engine(job: TrainingJob) -> Engine:
    """Look around and settle the engine of a unit.

    Raises:
        ResourceError: see `settled`.
    """
    wishes = settled(job.engine, job.device)
    device, configuration = torch.device(job.device), job.configuration
    on_gpu = device.type == "cuda"
    norm, others = (item not in wishes.without for item in (SpeedUp.FUSED_NORM, SpeedUp.KERNELS))
    voxels = configuration.batch_size * math.prod(configuration.patch_size)
    around = Surroundings(
        device=job.device,
        operations=voxels * operations_per_voxel(configuration.topology),
        narrow=is_narrow(configuration.topology),
        kernels_refused=kernels_refused(job.device, wishes.precision) if on_gpu and (norm or others) else None,
        training_kernels_refused=training_kernels_refused(job.device, wishes.precision) if on_gpu and others else None,
        case_bytes=case_bytes(job),
        free_device_bytes=free_card_bytes(choose_device(job.device)) if on_gpu else None,
        free_host_bytes=free_host_bytes(),
        at_once=job.at_once,
    )
    return choose_engine(wishes, around)


def _norm(wishes: EngineWishes, around: Surroundings, *, on_gpu: bool) -> tuple[NormKind, str]:
    what = "normalisation and rectifier"
    if SpeedUp.FUSED_NORM in wishes.without:
        return NormKind.PLAIN, f"{what} apart (switched off)"
    if not on_gpu:
        return NormKind.TWIN, f"{what} as one operation of torch calls"
    if around.kernels_refused is not None:
        return NormKind.TWIN, f"{what} as one operation of torch calls (kernels do not run: {around.kernels_refused})"
    return NormKind.TRITON, f"{what} as one operation of Triton kernels"


def _kernels(wishes: EngineWishes, around: Surroundings, *, on_gpu: bool) -> tuple[bool, str]:
    what = "joining, loss, reading and mirroring"
    if not on_gpu:
        return False, f"{what} by torch calls"
    if SpeedUp.KERNELS in wishes.without:
        return False, f"{what} by torch calls (switched off)"
    if around.kernels_refused is not None or around.training_kernels_refused is not None:
        return False, f"{what} by torch calls (kernels do not run)"
    return True, f"{what} by Triton kernels"


def _wide(wishes: EngineWishes, around: Surroundings, *, on_gpu: bool) -> tuple[bool, str]:
    if not on_gpu or wishes.precision is Precision.FLOAT32:
        return False, "features as planned"
    if SpeedUp.WIDE in wishes.without:
        return False, "features as planned (widening switched off)"
    if not around.narrow:
        return False, f"features as planned, multiples of {MULTIPLE}"
    return True, f"features rounded up to multiples of {MULTIPLE}, the added ones 0"


def _graphs(wishes: EngineWishes, around: Surroundings, *, on_gpu: bool) -> tuple[bool, str]:
    if not on_gpu:
        return False, "no CUDA graph on a CPU"
    if SpeedUp.GRAPHS in wishes.without:
        return False, "no CUDA graph (switched off)"
    size = f"{around.operations:.1e} multiply-adds a pass"
    if around.operations > GRAPH_OPERATIONS:
        return False, f"no CUDA graph ({size}: launching is not what takes long)"
    return True, f"the step is replayed as a CUDA graph ({size})"


def _residence(wishes: EngineWishes, around: Surroundings) -> tuple[Residence, str]:
    size = f"{around.case_bytes / 1e9:.2f} GB"
    if wishes.augmentation is AugmentationPath.CPU:
        return Residence.MAPPED, f"cases ({size}) in mapped files, which workers share"
    if SpeedUp.RESIDENT in wishes.without:
        return Residence.MAPPED, f"cases ({size}) in mapped files (switched off)"
    found = choose_residence(
        around.case_bytes, around.free_device_bytes, around.free_host_bytes, at_once=around.at_once
    )
    why = "memory does not hold them" if around.at_once is None else "all processes share them"
    words = {
        Residence.DEVICE: "kept on the device",
        Residence.HOST: "kept in the host's memory",
        Residence.MAPPED: f"in mapped files: {why}",
    }
    return found, f"cases ({size}) {words[found]}"
