"""Rows of the inference room: class probabilities of the network's grid to the labels of the image's own grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from row import Agreement, Pair, Places, Row
from rows_imaging import label_map, mixed_share

_OLD, _NEW = (100, 220, 220), (130, 190, 190)
_CLASSES = 14
_ROUNDING = {"skimage": 1e-6, "torch": 1e-5}  # torch takes positions in float32
_TARGETS = {("skimage", "sparse"): 20, ("skimage", "dense"): 10, ("torch", "sparse"): 3, ("torch", "dense"): 2}
_REFERENCES = {
    "skimage": "skimage.transform.resize, order 1, class by class, then arg-max",
    "torch": "torch's trilinear interpolate of all classes, then arg-max",
}


def rows(places: Places) -> list[Row]:
    return [
        Row(
            name=f"classes/{kind}-{library}",
            job=f"{_CLASSES} class probabilities to labels, {kind} ({_sizes(_OLD)} to {_sizes(_NEW)})",
            reference=_REFERENCES[library],
            target=target,
            prepare=lambda kind=kind, library=library: _classes(kind, library),
            repetitions=3,
            warm_up=library == "torch",
        )
        for (library, kind), target in _TARGETS.items()
    ]


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _probabilities(kind: str) -> NDArray[np.float32]:
    """Softmax maps as a network leaves them: sure inside, undecided over some voxels along a boundary."""
    from scipy import ndimage

    labels = label_map(kind, _OLD, labels=_CLASSES - 1)
    scores = np.empty((_CLASSES, *_OLD), dtype=np.float32)
    for index, score in enumerate(scores):
        ndimage.uniform_filter((labels == index).astype(np.float32), 3, output=score)
    scores *= 12
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def _classes(kind: str, library: str) -> Pair:
    import torch

    from nnbox.inference.class_maps import class_type, write_classes
    from nnbox.inference.corners import Source, read_axis

    probabilities = _probabilities(kind)
    values = torch.from_numpy(probabilities)
    whole = tuple(slice(0, size) for size in _NEW)

    def ours() -> NDArray[np.unsignedinteger]:
        axes = tuple(read_axis(old, new, nearest=False) for old, new in zip(_OLD, _NEW, strict=True))
        target = np.empty(_NEW, dtype=class_type(_CLASSES))
        write_classes(target, whole, [Source(values, (0, 0), axes)])
        return target

    return Pair(
        reference=lambda: _by_skimage(probabilities) if library == "skimage" else _by_torch(values),
        ours=ours,
        agree=lambda theirs, ours: _agree(probabilities, theirs, ours, _ROUNDING[library]),
        figures=lambda: {
            "foreground": float((probabilities[0] < 0.5).mean()),
            "mixed cells": mixed_share(probabilities.argmax(axis=0)),
        },
    )


def _by_skimage(probabilities: NDArray[np.float32]) -> NDArray[Any]:
    from skimage.transform import resize

    resized = [resize(part, _NEW, order=1, mode="edge", anti_aliasing=False) for part in probabilities]
    return np.stack(resized).argmax(axis=0)


def _by_torch(values: Any) -> NDArray[Any]:
    import torch.nn.functional as F  # noqa: N812

    resized = F.interpolate(values[None], size=_NEW, mode="trilinear", align_corners=False)
    return resized[0].argmax(dim=0).numpy()


def _agree(probabilities: NDArray[np.float32], theirs: NDArray[Any], ours: NDArray[Any], rounding: float) -> Agreement:
    """Demand equal labels wherever the two best means are further apart than rounding.

    On an exact tie both take the lowest class; means that differ by rounding alone may be seen either way round.
    """
    differing = np.nonzero(theirs != ours)
    means = _means(probabilities, differing)
    rows = np.arange(means.shape[1])
    apart = np.abs(means[theirs[differing], rows] - means[ours[differing], rows])
    below = means.max(axis=0) - means[ours[differing], rows] if rows.size else apart
    wrong = int(((apart > rounding) | (below > rounding)).sum())
    share = rows.size / ours.size
    words = f"identical but for ties within {rounding:.0e} ({share:.1e} of voxels), there the lowest class"
    return Agreement(words if not wrong else f"{wrong} voxels differ without a tie", holds=not wrong)


def _means(probabilities: NDArray[np.float32], points: tuple[NDArray[np.intp], ...]) -> NDArray[np.float64]:
    """Interpolate at some target voxels in float64: (classes, points)."""
    import itertools

    axes = []
    for index, old, new in zip(points, _OLD, _NEW, strict=True):
        position = np.clip((index + 0.5) * old / new - 0.5, 0, old - 1)
        lower = np.minimum(np.floor(position).astype(int), old - 2)
        axes.append((lower, position - lower))
    total = np.zeros((len(probabilities), len(points[0])))
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod([part if bit else 1 - part for bit, (_, part) in zip(corner, axes, strict=True)], axis=0)
        place = tuple(lower + bit for bit, (lower, _) in zip(corner, axes, strict=True))
        total += weight * probabilities[(slice(None), *place)]
    return total
