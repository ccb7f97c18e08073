"""Where a training unit stands, on disk: safetensors and a JSON record that names their digest and is written last.

Every checkpoint's tensors get a file of their own, and the record is replaced atomically, so that at any moment the
record names a whole file. The checkpoint before is kept besides: should a disk damage the last one, training goes on
from there. Weights alone are written the same way at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nnbox.errors import ChangedRunError, RecordError, ResourceError
from nnbox.files import atomic_path, digest_file, link_or_copy
from nnbox.records.codec import read_record, write_record
from nnbox.records.engine import EngineWishes
from nnbox.rules.schedule import ScheduleState
from nnbox.training.progress import EpochRecord

RECORD_NAME = "checkpoint.json"
BEFORE_NAME = "checkpoint-before.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossScaling:
    """Half-precision training multiplies the loss by ``scale``, raised after enough steps without overflow."""

    scale: float
    growth_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """Where and how a network was computed up to its checkpoint: the device as torch spells it, the wishes settled."""

    device: str
    engine: EngineWishes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """The readable half of a checkpoint.

    Attributes:
        job_sha256: digest of what decides the weights; see `TrainingJob.digest`.
        schedule: after the last finished epoch.
        history: every finished epoch.
        losses: of the steps already taken in the epoch after it; None for a step that was left out.
        loss_scaling: of fp16 training, or None.
        tensors: name of the tensors' file, in the same folder.
        tensors_sha256: its digest.
        full_precision: the training broke down once and goes on in float32.
        computed: for who finds the checkpoint elsewhere; None in older ones.
    """

    RECORD: ClassVar[str] = "checkpoint"
    VERSION: ClassVar[int] = 2

    job_sha256: str
    schedule: ScheduleState
    history: tuple[EpochRecord, ...]
    losses: tuple[float | None, ...]
    loss_scaling: LossScaling | None
    tensors: str
    tensors_sha256: str
    full_precision: bool = False
    computed: Computed | None = None


Checkpoint = tuple[CheckpointRecord, dict[str, Tensor]]
"""Both halves."""


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
    losses: tuple[float | None, ...] = (),
    loss_scaling: LossScaling | None,
    full_precision: bool = False,
    computed: Computed | None = None,
) -> None:
    """Write the state after ``schedule.epoch`` epochs and the steps since, then remove all but the one before."""
    name = f"checkpoint-{schedule.epoch:06d}-{len(losses):06d}.safetensors"
    record = CheckpointRecord(
        job_sha256=job_sha256,
        schedule=schedule,
        history=history,
        losses=losses,
        loss_scaling=loss_scaling,
        tensors=name,
        tensors_sha256=write_tensors(folder / name, tensors),
        full_precision=full_precision,
        computed=computed,
    )
    path, before = folder / RECORD_NAME, folder / BEFORE_NAME
    if path.exists() and _named(path) != name:
        link_or_copy(path, before)
    write_record(path, record)
    kept = {name, _named(before)}
    for old in folder.glob("checkpoint-*.safetensors"):
        if old.name not in kept:
            old.unlink()


def read_checkpoint(folder: Path, job_sha256: str, tell: Callable[[str], None]) -> Checkpoint | None:
    """Read the last checkpoint of a job; where it is damaged, the one before, which then is the last.

    Args:
        folder: of the unit.
        job_sha256: of the job.
        tell: is told of damage, in a sentence.

    Returns:
        The record and the tensors; None where there is no checkpoint, or no whole one.

    Raises:
        ChangedRunError: the checkpoint belongs to a job that would give other weights.
    """
    path, before = folder / RECORD_NAME, folder / BEFORE_NAME
    if not path.exists():
        return None
    found = _read(path)
    if isinstance(found, str):
        last, found = found, _read(before) if before.exists() else "there is none"
        if isinstance(found, str):
            tell(f"{last}, the checkpoint before it: {found}; this unit is trained from the start")
            path.unlink()
            return None
        tell(f"{last}; this unit goes on from the checkpoint before it, after epoch {found[0].schedule.epoch}")
        link_or_copy(before, path)
    if found[0].job_sha256 != job_sha256:
        raise ChangedRunError(
            f"the checkpoint in {folder} belongs to a training with other cases, options or rules. What to do: repeat "
            "the command as it was, use another --output, or add --restart, which moves the old run aside."
        )
    return found


def _read(path: Path) -> Checkpoint | str:
    """Return a checkpoint, or what is wrong with it."""
    try:
        record = read_record(path, CheckpointRecord)
        tensors_path = path.with_name(Path(record.tensors).name)
        if not tensors_path.is_file() or digest_file(tensors_path) != record.tensors_sha256:
            return f"{tensors_path} is missing or damaged"
        return record, load_file(tensors_path)
    except (RecordError, SafetensorError, OSError) as error:
        return f"the checkpoint {path} cannot be read ({error})"


def _named(path: Path) -> str | None:
    """Return the name of the tensors that a record names; None where there is no readable one."""
    try:
        return read_record(path, CheckpointRecord).tensors
    except RecordError:
        return None


def discard_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a unit that is finished and has its receipt; the records go first."""
    for name in (RECORD_NAME, BEFORE_NAME):
        (folder / name).unlink(missing_ok=True)
    for tensors in folder.glob("checkpoint-*.safetensors"):
        tensors.unlink()
