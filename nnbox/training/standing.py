"""Where a training stands: begun or taken up from its checkpoint, laid out again, saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from nnbox.errors import ChangedRunError
from nnbox.recipes import Recipe
from nnbox.records.codec import read_record
from nnbox.records.engine import options
from nnbox.rules.schedule import ScheduleState, continue_for
from nnbox.training.checkpoint import (
    RECORD_NAME,
    Checkpoint,
    CheckpointRecord,
    Computed,
    read_checkpoint,
    write_checkpoint,
)
from nnbox.training.engine import settle_engine, settled
from nnbox.training.job import TrainingJob
from nnbox.training.learner import Learner
from nnbox.training.progress import EpochRecord, Report, Setback, write_progress
from nnbox.training.steadiness import on_host, taken_up

CHECKPOINT_SHARE = 0.05
PROGRESS_NAME = "progress.csv"


def may_always() -> None:
    """Allow whatever is asked."""


@dataclass(slots=True)
class Standing:
    """Where the training stands; ``saved_at`` and ``saving_seconds`` are of the last checkpoint.

    ``losses`` are those of the steps taken in the epoch that is not finished yet; those before ``judged_from`` were in
    the checkpoint, and may be why an earlier start broke down. With ``full_precision`` the training
    broke down before and goes on in float32.
    """

    schedule: ScheduleState
    history: list[EpochRecord] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    judged_from: int = 0
    saved_at: float = field(default_factory=time.monotonic)
    saving_seconds: float = 0.0
    full_precision: bool = False
    pace: Callable[[], int] | None = None
    may_write: Callable[[], None] = may_always

    def lay_out_again(self, recipe: Recipe) -> None:
        """Give a laid-out schedule as many epochs as there is time for; an epoch that was begun is ended first."""
        if self.pace is not None and not self.losses and self.schedule.finished is None:
            self.schedule = continue_for(self.schedule, recipe, self.pace())


def last_checkpoint(job: TrainingJob, report: Callable[[Report], None]) -> Checkpoint | None:
    """Read the job's checkpoint; None where there is none. Damage is told.

    Raises:
        ChangedRunError: the folder holds the checkpoint of another job, or of one computed in another way.
    """

    def tell(sentence: str) -> None:
        report(Setback(configuration=job.configuration.name, fold=job.fold, sentence=sentence))

    try:
        return read_checkpoint(job.folder, job.digest(), tell)
    except ChangedRunError:
        _require_same_engine(job)
        raise


def _require_same_engine(job: TrainingJob) -> None:
    """See that a checkpoint of another digest was computed as this job would be; the digest does not tell.

    Raises:
        ChangedRunError: it was not; most often ``auto`` chose for another device.
    """
    before, now = read_record(job.folder / RECORD_NAME, CheckpointRecord).computed, _computed(job)
    if before is None or before.engine == now.engine:
        return
    raise ChangedRunError(
        f"{job.configuration.name} fold {job.fold} was begun on {before.device} with {options(before.engine)}; on "
        f"{now.device} this command means {options(now.engine)}, which gives another network (what is not said, or "
        "auto, follows from the device). What to do: continue on a device like the first one; or delete the folder "
        f"{job.folder}, and this network alone is trained anew; or use another --output; or add --restart, which moves "
        "the old run aside. Who wants to change devices says --precision and --augmentation from the start."
    )


def _computed(job: TrainingJob) -> Computed:
    return Computed(device=job.device, engine=settled(job.engine, job.device))


def take_up(job: TrainingJob, saved: Checkpoint | None, *, full_precision: bool) -> tuple[Learner, Standing]:
    """Go on from a checkpoint, or begin where there is none; bring the progress table to the same epoch.

    With ``full_precision`` it is computed in float32, whatever the job says.
    """
    learner = Learner(job, settle_engine(job.in_float32() if full_precision else job))
    if saved is None:
        return learner, Standing(schedule=job.first_state(), full_precision=full_precision)
    record, tensors = saved
    learner.load(tensors, record.loss_scaling)
    write_progress(job.folder / PROGRESS_NAME, record.history)
    losses = taken_up(record.losses, job, learner.device)
    return learner, Standing(
        schedule=record.schedule,
        history=list(record.history),
        losses=losses,
        judged_from=len(losses),
        full_precision=full_precision,
    )


def save(job: TrainingJob, learner: Learner, standing: Standing, *, now: bool = False) -> None:
    """Write the progress table, and a checkpoint unless the last one is so recent that writing would cost over 5 %.

    With ``now`` the checkpoint is written in any case.

    Raises:
        LostClaimError: the folder is another run's by now; nothing is written.
    """
    standing.may_write()
    write_progress(job.folder / PROGRESS_NAME, tuple(standing.history))
    started = time.monotonic()
    recent = started - standing.saved_at < standing.saving_seconds / CHECKPOINT_SHARE
    if recent and standing.schedule.finished is None and not now:
        return
    write_checkpoint(
        job.folder,
        learner.state(),
        job_sha256=job.digest(),
        schedule=standing.schedule,
        history=tuple(standing.history),
        losses=on_host(standing.losses),
        loss_scaling=learner.loss_scaling,
        full_precision=standing.full_precision,
        computed=_computed(job),
    )
    standing.saved_at = time.monotonic()
    standing.saving_seconds = standing.saved_at - started
