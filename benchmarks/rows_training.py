"""Rows of the training room: the loss, augmentation on the device, the step."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from resident import forget_peak, peak_mb, resident_mb
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
        *(
            Row(
                name=f"augmentation/{kind.name}",
                job=f"{kind.samples} training patches of {'x'.join(map(str, kind.patch))}, {kind.words}; torch on one "
                "core, as on a GPU; transforms, probabilities and orders (image 3, labels 1) of the 2019 recipe",
                reference="the same draws by batchgenerators, as on a CPU",
                target=4,
                prepare=lambda kind=kind: augmentation(kind),
                repetitions=3,
                remark=kind.remark,
            )
            for kind in KINDS
        ),
    ]


@dataclass(frozen=True)
class Kind:
    """A kind of patch: its configuration in numbers, the shape of its cases, and how many are drawn."""

    name: str
    words: str
    patch: tuple[int, int, int]
    case: tuple[int, int, int]
    slice_axis: int | None
    labels: int
    samples: int
    batch: int
    remark: str = ""


_READING = (
    "Two fifths of our time are the spline's sums, most of it taking coefficients from memory. Tried, without a gain: "
    "numpy's taking, shorter indices, four neighbours at once as one complex number, an embedding bag for the sums"
)
KINDS = (
    Kind("128-cubed", "2 labels, batches of 2", (128, 128, 128), (180, 240, 240), None, 2, 40, 2, _READING),
    Kind("128-cubed-14", "14 labels, batches of 2", (128, 128, 128), (180, 240, 240), None, 14, 40, 2),
    Kind("hippocampus", "2 labels, batches of 9", (40, 56, 40), (36, 50, 35), None, 2, 90, 9),
    Kind("in-plane", "2 labels, slice by slice, batches of 2", (20, 192, 160), (40, 320, 260), 0, 2, 60, 2),
)


def augmentation(kind: Kind) -> Pair:
    """Return batchgenerators' way and torch's of applying the same draws."""
    import numpy as np
    import torch
    from scipy.ndimage import zoom

    from nnbox.rules.augmentation import (
        ALPHA_2D,
        ALPHA_3D,
        ANGLE_2D_DEG,
        ANGLE_DEG,
        AugmentationSpec,
        draw_augmentation,
    )
    from nnbox.training.apply import augment_patch
    from nnbox.training.augment import augment_packed
    from nnbox.training.pack import CaseVoxels, Placed, pack
    from nnbox.training.patches import Arrays

    rng, plane = np.random.default_rng(_SEED), kind.slice_axis is not None
    coarse = [size // 24 + 2 for size in kind.case]
    smooth = zoom(rng.normal(size=coarse), [size / few for size, few in zip(kind.case, coarse, strict=True)], order=1)
    limits = [0.8] if kind.labels == 1 else np.linspace(0.2, 1.2, kind.labels)
    labels = np.digitize(smooth / smooth.std(), limits).astype(np.int16)
    image = (smooth + 0.1 * rng.normal(size=kind.case)).astype(np.float32)[None]
    case = Arrays(image=image, labels=labels, previous=None)
    spec = AugmentationSpec(
        dimension=3,
        slice_axis=kind.slice_axis,
        alpha=ALPHA_2D if plane else ALPHA_3D,
        angle_rad=math.radians(ANGLE_2D_DEG if plane else ANGLE_DEG),
        channels=1,
        mirror_axes=(0, 1, 2),
        previous_labels=0,
    )
    starts = [
        tuple(
            int(rng.integers(min(size - edge, 0), max(size - edge, 0) + 1))
            for size, edge in zip(kind.case, kind.patch, strict=True)
        )
        for _ in range(kind.samples)
    ]
    drawn = [(start, draw_augmentation(rng, spec=spec)) for start in starts]
    voxels = CaseVoxels(image=case.image, labels=case.labels, previous=None)

    def reference() -> list[Arrays]:
        return [
            augment_patch(case, start=start, shape=kind.patch, augmentation=record, slice_axis=kind.slice_axis)
            for start, record in drawn
        ]

    def ours() -> list[tuple[Any, Any]]:
        placed = [
            Placed(case=voxels, start=start, shape=kind.patch, slice_axis=kind.slice_axis, augmentation=record)
            for start, record in drawn
        ]
        batches = [placed[first : first + kind.batch] for first in range(0, len(placed), kind.batch)]
        return [augment_packed(pack(batch, label_type=torch.int8), 0) for batch in batches]

    def agree(theirs: list[Arrays], mine: list[tuple[Any, Any]]) -> Agreement:
        images, maps = torch.cat([image for image, _ in mine]), torch.cat([label for _, label in mine])
        apart = max(float(np.abs(image.numpy() - one.image).max()) for image, one in zip(images, theirs, strict=True))
        equal = np.mean([(label.numpy() == one.labels).mean() for label, one in zip(maps, theirs, strict=True)])
        words = f"images within {apart:.0e} (sd 1), labels equal on {equal:.4%} of voxels"
        return Agreement(words, holds=apart < 1e-3 and equal >= 0.995)

    return Pair(reference=reference, ours=ours, agree=agree)


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


def _print_peak(which: str) -> None:
    import torch

    logits, labels = _loss_inputs()
    small = (logits[:, :, :8, :8, :8].contiguous(), labels[:, :8, :8, :8].contiguous())
    _value_and_gradient(_LOSSES[which], *small)  # what is loaded at the first call is not counted
    torch.zeros(1)
    forget_peak()
    before = resident_mb()
    _value_and_gradient(_LOSSES[which], logits, labels)
    print(peak_mb() - before)


if __name__ == "__main__":
    _print_peak(sys.argv[1])
