"""Steps whose loss or gradients are not finite: left out on the device, counted on the host, and what follows.

The rule is in `nnbox.rules.steadiness`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnbox.errors import TrainingError
from nnbox.rules.steadiness import LOOK_STEPS, MOST_IN_A_ROW, broke_down, left_out, mean_of_sound
from nnbox.training.job import TrainingJob


class BreakdownError(TrainingError):
    """Too many steps in a row were left out, or nothing of an epoch is a number."""


def total_size(gradients: Sequence[Tensor]) -> Tensor:
    """Return the sum of the gradients' norms, as a scalar on their device that nobody has waited for."""
    return torch.stack(torch._foreach_norm(list(gradients))).sum()


def is_sound(loss: Tensor, size: Tensor) -> Tensor:
    """Return whether loss and all gradients are finite, as a scalar on their device that nobody has waited for.

    Gradients count as not finite, too, where their `total_size` exceeds float32.
    """
    return torch.isfinite(loss) & torch.isfinite(size)


def mark(loss: Tensor, sound: Tensor) -> Tensor:
    """Return the loss, or not a number where the step is left out."""
    return torch.where(sound, loss, torch.full_like(loss, torch.nan))


def require_steady(losses: Sequence[Tensor], job: TrainingJob, epoch: int) -> None:
    """Look at an epoch's losses so far, every few steps on a CPU.

    On another device nothing is asked before the epoch ends (`settle`): the host, waiting for the answer, would prepare
    no further step. A breakdown then costs the rest of its epoch, in which the weights stay as they are.

    Raises:
        BreakdownError: too many in a row were left out.
    """
    if torch.device(job.device).type != "cpu" or len(losses) % LOOK_STEPS:
        return
    if broke_down(found := torch.stack(list(losses)).tolist()):
        raise _breakdown(job, epoch, f"{left_out(found)} of {len(found)} steps, {MOST_IN_A_ROW} of them in a row")


def settle(losses: Sequence[Tensor], job: TrainingJob, epoch: int, judged_from: int = 0) -> tuple[float, int]:
    """Bring an epoch's losses to the host; return the mean of those that are finite, and how many are not.

    Args:
        losses: of the epoch's steps.
        job: what is trained.
        epoch: its number.
        judged_from: the first of them that this start computed: those before are no reason for it to break down.

    Raises:
        BreakdownError: too many in a row, or all of them, are not finite.
    """
    found = torch.stack(list(losses)).tolist()
    mean = mean_of_sound(found)
    if mean is None or broke_down(found[judged_from:]):
        raise _breakdown(job, epoch, f"{left_out(found)} of {len(found)} steps")
    return mean, left_out(found)


def taken_up(losses: Sequence[float | None], job: TrainingJob, device: torch.device | str) -> list[Tensor]:
    """Return the losses of a checkpoint's unfinished epoch, on a device.

    Where all of its steps were taken and not one is a number, none is returned: the epoch is begun anew, since all that
    could be made of it is a breakdown, whenever it is continued. The weights are those from before it.
    """
    if len(losses) == job.schedule.iterations_per_epoch and all(loss is None for loss in losses):
        return []
    return [torch.tensor(math.nan if loss is None else loss, device=device) for loss in losses]


def on_host(losses: Sequence[Tensor]) -> tuple[float | None, ...]:
    """Return losses as numbers, None for those of steps that were left out."""
    found = torch.stack(list(losses)).tolist() if losses else ()
    return tuple(loss if math.isfinite(loss) else None for loss in found)


def _breakdown(job: TrainingJob, epoch: int, what: str) -> BreakdownError:
    return BreakdownError(
        f"{job.configuration.name} fold {job.fold}: in epoch {epoch} the loss or its gradients were not finite numbers "
        f"in {what}. The epochs before it are kept in {job.folder.name}. What to do: look for extreme intensities with "
        "nnbox inspect (a channel that is no image? a CT not called CT?); run the same command again to continue from "
        "the last checkpoint."
    )
