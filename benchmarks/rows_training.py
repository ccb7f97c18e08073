"""Rows of the training room: the loss, augmentation on the device, the step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from row import Agreement, Pair, Places, Row

_SEED = 5
_MOST_MEMORY = 0.7
_CLASSES, _PATCH = 15, (96, 96, 96)


def rows(places: Places) -> list[Row]:
    return [
        Row(
            name="loss/15-classes",
            job="cross-entropy and soft Dice with gradient, 2 x 15 classes x 96x96x96, channels last",
            reference="softmax, one-hot, torch's cross-entropy and autograd",
            target=2,
            prepare=_loss,
            repetitions=3,
        ),
    ]


def _loss_inputs() -> tuple[Any, Any]:
    import torch

    random = torch.Generator().manual_seed(_SEED)
    logits = torch.randn((2, *_PATCH, _CLASSES), generator=random).movedim(-1, 1)
    return logits, torch.randint(0, _CLASSES, (2, *_PATCH), generator=random)


def _plain_loss(logits: Any, labels: Any) -> Any:
    import torch.nn.functional as F  # noqa: N812

    softmax = F.softmax(logits, dim=1)
    reference = F.one_hot(labels, _CLASSES).movedim(-1, 1).to(softmax.dtype)
    overlap, volume = (softmax * reference).sum((2, 3, 4)), softmax.sum((2, 3, 4)) + reference.sum((2, 3, 4))
    return F.cross_entropy(logits, labels) - ((2 * overlap + 1e-5) / (volume + 1e-5))[:, 1:].mean()


def _our_loss(logits: Any, labels: Any) -> Any:
    from nnbox.training.loss import segmentation_loss

    return segmentation_loss(logits, labels, batch_dice=False)


def _value_and_gradient(loss: Any, logits: Any, labels: Any) -> tuple[float, Any]:
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return float(value.detach()), leaf.grad


_LOSSES = {"plain": _plain_loss, "ours": _our_loss}


def _loss() -> Pair:
    logits, labels = _loss_inputs()
    peaks = {name: _peak_in_a_process(name) for name in _LOSSES}
    share = peaks["ours"] / peaks["plain"]

    def agree(plain: tuple[float, Any], ours: tuple[float, Any]) -> Agreement:
        value = abs(plain[0] - ours[0])
        gradient = float((plain[1] - ours[1]).abs().max() / plain[1].abs().max())
        words = f"value within {value:.0e}, gradient within {gradient:.0e} of the largest; memory {share:.0%}"
        return Agreement(words, holds=value < 1e-5 and gradient < 1e-4 and share <= _MOST_MEMORY)

    return Pair(
        reference=lambda: _value_and_gradient(_plain_loss, logits, labels),
        ours=lambda: _value_and_gradient(_our_loss, logits, labels),
        agree=agree,
        figures=lambda: {f"MB beyond the logits, {name}": peak for name, peak in peaks.items()},
    )


def _peak_in_a_process(which: str) -> float:
    """MB of a loss with its gradient beyond what was there before, in a fresh process."""
    command = [sys.executable, __file__, which]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _resident(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def _print_peak(which: str) -> None:
    import torch

    logits, labels = _loss_inputs()
    small = (logits[:, :, :8, :8, :8].contiguous(), labels[:, :8, :8, :8].contiguous())
    _value_and_gradient(_LOSSES[which], *small)  # what is loaded at the first call is not counted
    torch.zeros(1)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = _resident("VmRSS")
    _value_and_gradient(_LOSSES[which], logits, labels)
    print(_resident("VmHWM") - before)


if __name__ == "__main__":
    _print_peak(sys.argv[1])
