"""Where a training unit stands, on disk: safetensors and a JSON record that names their digest and is written last.

Every checkpoint's tensors get a file of their own, and the record is replaced atomically, so that at any moment the
record names a whole file. Weights alone are written the same way at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nnbox.errors import ChangedRunError, RecordError, ResourceError
from nnbox.files import atomic_path, digest_file
from nnbox.records.codec import read_record, write_record
from nnbox.rules.schedule import ScheduleState
from nnbox.training.progress import EpochRecord

RECORD_NAME = "checkpoint.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossScaling:
    """Half-precision training multiplies the loss by ``scale``, raised after enough steps without overflow."""

    scale: float
    growth_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """The readable half of a checkpoint.

    Attributes:
        job_sha256: digest of what decides the weights; see `TrainingJob.digest`.
        schedule: after the last finished epoch.
        history: every finished epoch.
        losses: of the steps already taken in the epoch after it.
        loss_scaling: of fp16 training, or None.
        tensors: name of the tensors' file, in the same folder.
        tensors_sha256: its digest.
    """

    RECORD: ClassVar[str] = "checkpoint"
    VERSION: ClassVar[int] = 2

    job_sha256: str
    schedule: ScheduleState
    history: tuple[EpochRecord, ...]
    losses: tuple[float, ...]
    loss_scaling: LossScaling | None
    tensors: str
    tensors_sha256: str


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors atomically as safetensors; return the file's SHA-256. Equal tensors give equal bytes.

    Raises:
        ResourceError: the file cannot be written (a full disk, most often).
    """
    dense = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(dense, temporary)
            temporary.chmod(0o644)  # safetensors leaves them to their owner alone; a model is for others, too
    except (OSError, SafetensorError) as error:
        size = sum(tensor.nbytes for tensor in dense.values()) / 1e6
        raise ResourceError(
            f"{path} ({size:.0f} MB) cannot be written: {error}. What to do: free disk space or mend the permissions "
            "of the output, then run the same command again; it continues from the last checkpoint."
        ) from None
    return digest_file(path)


def write_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    job_sha256: str,
    schedule: ScheduleState,
    history: tuple[EpochRecord, ...],
    losses: tuple[float, ...] = (),
    loss_scaling: LossScaling | None,
) -> None:
    """Write the state after ``schedule.epoch`` epochs and the steps since, then remove older checkpoints' tensors."""
    name = f"checkpoint-{schedule.epoch:06d}-{len(losses):06d}.safetensors"
    record = CheckpointRecord(
        job_sha256=job_sha256,
        schedule=schedule,
        history=history,
        losses=losses,
        loss_scaling=loss_scaling,
        tensors=name,
        tensors_sha256=write_tensors(folder / name, tensors),
    )
    write_record(folder / RECORD_NAME, record)
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink()


def read_checkpoint(folder: Path, job_sha256: str) -> tuple[CheckpointRecord, dict[str, Tensor]] | None:
    """Read the last checkpoint of a job; None where there is none, or where it is damaged (a warning says so).

    Raises:
        ChangedRunError: the checkpoint belongs to a job that would give other weights.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        record = read_record(path, CheckpointRecord)
        tensors_path = folder / Path(record.tensors).name
        intact = tensors_path.is_file() and digest_file(tensors_path) == record.tensors_sha256
        tensors = load_file(tensors_path) if intact else None
    except (RecordError, SafetensorError, OSError) as error:
        _log.warning("the checkpoint in %s cannot be read (%s); this unit is trained from the start", folder, error)
        return None
    if record.job_sha256 != job_sha256:
        raise ChangedRunError(
            f"the checkpoint in {folder} belongs to a training with other cases, options or rules. "
            "What to do: repeat the command as it was, use another output, or add --restart."
        )
    if tensors is None:
        _log.warning("%s is missing or damaged; this unit is trained from the start", tensors_path)
        return None
    return record, tensors


def discard_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a unit that is finished and has its receipt; the record goes first."""
    (folder / RECORD_NAME).unlink(missing_ok=True)
    for tensors in folder.glob("checkpoint-*.safetensors"):
        tensors.unlink()
