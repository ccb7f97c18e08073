"""Rows of the imaging room: resizing, components, fingerprint statistics."""

from __future__ import annotations

import numpy as np
from row import Agreement, Pair, Places, Row

_SEED = 5


def rows(places: Places) -> list[Row]:
    return [
        *(
            Row(
                name=f"resize/cubic-{name}",
                job=f"third-order resize, {_sizes(old)} to {_sizes(new)}",
                reference="skimage.transform.resize, order 3",
                target=15,
                prepare=lambda old=old, new=new: _cubic(old, new),
                repetitions=3 if name == "large" else 5,
            )
            for name, old, new in _CUBIC
        ),
        *(
            Row(
                name=f"resize/separate-{name}",
                job=f"the same with a separate coarse axis, {_sizes(old)} to {_sizes(new)}",
                reference="skimage.transform.resize, order 3, slice by slice",
                target=6,
                prepare=lambda old=old, new=new: _separate(old, new),
                repetitions=3,
            )
            for name, old, new in _SEPARATE
        ),
        *(
            Row(
                name=f"labels/resize-{name}",
                job=f"linear resize of 14 labels, {name} ({_sizes(_LABELS[0])} to {_sizes(_LABELS[1])})",
                reference="batchgenerators' resize_segmentation, order 1",
                target=30 if name == "sparse" else 12,
                prepare=lambda name=name: _labels(name),
                repetitions=3,
            )
            for name in ("sparse", "dense")
        ),
        Row(
            name="components/largest",
            job="largest component of each of 6 labels, 256x256x256",
            reference="scipy.ndimage.label, 26 neighbours, label by label",
            target=4,
            prepare=_largest,
            repetitions=3,
        ),
        *(
            Row(
                name=f"statistics/{name}",
                job=f"statistics of the foreground of 60 cases, 500,000 voxels each, {name} intensities",
                reference="concatenate, then numpy.percentile, min, max, mean, std (float64)",
                target=8 if name == "integer" else 2,
                prepare=lambda name=name: _statistics(name),
                repetitions=5,
                remark=remark,
            )
            for name, remark in (("integer", _COUNTING), ("float", ""))
        ),
    ]


_COUNTING = (
    "numpy.bincount alone takes 1.4 to 1.6 of our 4 ns a voxel; the rest is finding the lowest and the highest and "
    "making sure that all are whole. Tried: casting to 32 bits and back for that (152 ms), smaller blocks and arrays "
    "kept from block to block (slower). Four runs within two hours, on a machine that others share, gave 5.2 to 6.9x"
)
_CUBIC = (
    ("large", (160, 512, 512), (200, 420, 420)),
    ("middle", (120, 160, 160), (160, 192, 176)),
    ("small", (36, 50, 35), (48, 64, 40)),
)
_SEPARATE = (("large", (60, 512, 512), (90, 420, 420)), ("small", (20, 200, 180), (24, 256, 220)))
_LABELS = ((100, 220, 220), (130, 190, 190))


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _smooth(shape: tuple[int, ...], coarse: int = 8) -> np.ndarray:
    """A smooth random volume, as images are, with some noise."""
    from scipy import ndimage

    rng = np.random.default_rng(_SEED)
    small = rng.normal(size=[size // coarse + 2 for size in shape])
    zoom = [size / part for size, part in zip(shape, small.shape, strict=True)]
    return (ndimage.zoom(small, zoom, order=1) + 0.1 * rng.normal(size=shape)).astype(np.float32)


def _cubic(old: tuple[int, ...], new: tuple[int, ...]) -> Pair:
    from skimage.transform import resize

    from nnbox.imaging.resample import resample_image

    volume = _smooth(old)

    def reference() -> np.ndarray:
        return resize(volume, new, order=3, mode="edge", clip=True, anti_aliasing=False)

    return Pair(
        reference=reference,
        ours=lambda: resample_image(volume[None], new, separate_axis=None)[0],
        agree=lambda theirs, ours: _close(theirs, ours, float(volume.std())),
    )


def _separate(old: tuple[int, ...], new: tuple[int, ...]) -> Pair:
    from scipy import ndimage
    from skimage.transform import resize

    from nnbox.imaging.resample import resample_image

    volume = _smooth(old)
    position = (np.arange(new[0]) + 0.5) * old[0] / new[0] - 0.5
    nearest = ndimage.map_coordinates(np.arange(float(old[0])), [position], order=0, mode="nearest").astype(int)

    def reference() -> np.ndarray:
        plane = [resize(part, new[1:], order=3, mode="edge", clip=True, anti_aliasing=False) for part in volume]
        return np.stack(plane)[nearest]

    return Pair(
        reference=reference,
        ours=lambda: resample_image(volume[None], new, separate_axis=0)[0],
        agree=lambda theirs, ours: _close(theirs, ours, float(volume.std())),
    )


def _close(theirs: np.ndarray, ours: np.ndarray, sd: float) -> Agreement:
    error = float(np.abs(theirs.astype(np.float64) - ours).max()) / sd
    return Agreement(f"largest difference {error:.1e} sd", holds=error <= 1e-5)


def label_map(kind: str, shape: tuple[int, ...], labels: int = 14) -> np.ndarray:
    """A map of 14 labels: ``sparse`` has 6 % foreground, ``dense`` is a full partition of which ≥ 10 % of cells mix."""
    from scipy import ndimage

    rng = np.random.default_rng(_SEED)
    if kind == "dense":
        points = [rng.uniform(0, size, 1200) for size in shape]
        markers = np.zeros(shape, dtype=np.int32)
        markers[tuple(np.floor(values).astype(int) for values in points)] = 1 + np.arange(1200)
        where = ndimage.distance_transform_edt(markers == 0, return_distances=False, return_indices=True)
        return (markers[tuple(where)] % (labels + 1)).astype(np.int16)
    found = np.zeros(shape, dtype=np.int16)
    radius = (0.06 * np.prod(shape) / labels * 3 / (4 * np.pi)) ** (1 / 3) * 1.03
    grid = np.ogrid[tuple(slice(0, size) for size in shape)]
    for label in range(1, labels + 1):
        centre = [rng.uniform(radius, size - radius) for size in shape]
        found[sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < radius**2] = label
    return found


def mixed_share(labels: np.ndarray) -> float:
    corners = [
        labels[z : labels.shape[0] - 1 + z, y : labels.shape[1] - 1 + y, x : labels.shape[2] - 1 + x]
        for z in (0, 1)
        for y in (0, 1)
        for x in (0, 1)
    ]
    return float(np.mean(np.minimum.reduce(corners) != np.maximum.reduce(corners)))


def _labels(kind: str) -> Pair:
    from batchgenerators.augmentations.utils import resize_segmentation

    from nnbox.imaging.labels import resample_labels

    old, new = _LABELS
    labels = label_map(kind, old)

    def agree(theirs: np.ndarray, ours: np.ndarray) -> Agreement:
        differing = theirs != ours
        ties = _tied(labels, new, differing)
        others = int(differing.sum()) - ties
        words = f"identical but for ties ({differing.mean():.1e} of voxels)"
        return Agreement(words if others == 0 else f"{others} voxels differ without a tie", holds=others == 0)

    return Pair(
        reference=lambda: resize_segmentation(labels, new, order=1),
        ours=lambda: resample_labels(labels, new, order=1, separate_axis=None),
        agree=agree,
        figures=lambda: {"foreground": float((labels > 0).mean()), "mixed cells": mixed_share(labels)},
    )


def _tied(labels: np.ndarray, new: tuple[int, ...], where: np.ndarray) -> int:
    """Count the given output voxels at which two labels have the same largest weight, or one of exactly a half."""
    import itertools

    weights: dict[int, np.ndarray] = {}
    points = np.nonzero(where)
    axes = []
    for index, size, wanted in zip(points, labels.shape, new, strict=True):
        position = np.clip((index + 0.5) * size / wanted - 0.5, 0, size - 1)
        lower = np.minimum(np.floor(position).astype(int), size - 2)
        axes.append((lower, position - lower))
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod([part if bit else 1 - part for bit, (_, part) in zip(corner, axes, strict=True)], axis=0)
        values = labels[tuple(lower + bit for bit, (lower, _) in zip(corner, axes, strict=True))]
        for label in np.unique(values):
            weights.setdefault(int(label), np.zeros(len(points[0])))[values == label] += weight[values == label]
    ordered = np.sort(np.stack(list(weights.values())), axis=0)
    # The reference writes every label that reaches a half, in ascending order, and background where none does.
    undecided = (ordered[-1] - ordered[-2] < 1e-6) | (ordered[-1] < 0.5 + 1e-6)
    return int(undecided.sum())


def _largest() -> Pair:
    from scipy import ndimage

    from nnbox.imaging.postprocess import apply_postprocessing
    from nnbox.records.results import PostprocessingStep

    rng = np.random.default_rng(_SEED)
    shape = (256, 256, 256)
    labels = label_map("sparse", shape, labels=6).astype(np.uint8)
    for _ in range(400):  # debris: small pieces of every label everywhere
        corner = [int(rng.integers(0, size - 8)) for size in shape]
        labels[tuple(slice(at, at + int(rng.integers(1, 8))) for at in corner)] = rng.integers(0, 7)
    neighbours = np.ones((3, 3, 3), dtype=bool)
    steps = [PostprocessingStep(label=label) for label in range(1, 7)]

    def reference() -> np.ndarray:
        result = labels.copy()
        for label in range(1, 7):
            components, count = ndimage.label(result == label, structure=neighbours)
            if count > 1:
                sizes = np.bincount(components.ravel())
                result[(components > 0) & (components != 1 + np.argmax(sizes[1:]))] = 0
        return result

    def agree(theirs: np.ndarray, ours: np.ndarray) -> Agreement:
        same = np.array_equal(theirs, ours)
        return Agreement("identical" if same else "different", holds=same)

    return Pair(reference=reference, ours=lambda: apply_postprocessing(labels, steps), agree=agree)


def _statistics(kind: str) -> Pair:
    from nnbox.imaging.counts import count_channel, count_fine
    from nnbox.imaging.intensities import combine_intensities

    rng = np.random.default_rng(_SEED)
    cases = [rng.normal(100, 300, 500_000).astype(np.float32) for _ in range(60)]
    if kind == "integer":
        cases = [np.rint(voxels) for voxels in cases]
    passes = []

    def reference() -> list[float]:
        voxels = np.concatenate(cases).astype(np.float64)
        low, high = np.percentile(voxels, [0.5, 99.5])
        return [low, high, voxels.min(), voxels.max(), voxels.mean(), voxels.std()]

    def ours() -> list[float]:
        def again(bins):
            passes.append(len(bins[0]))
            return ((count_fine(voxels, bins[0]),) for voxels in cases)

        (found,) = combine_intensities(((count_channel(voxels),) for voxels in cases), again)
        order = [found.percentile_00_5, found.percentile_99_5, found.minimum, found.maximum]
        return [*order, found.mean, found.sd]

    def agree(theirs: list[float], ours: list[float]) -> Agreement:
        error = max(abs(a - b) / abs(a) for a, b in zip(theirs[4:], ours[4:], strict=True))
        same = theirs[:4] == ours[:4]
        words = f"order statistics {'identical' if same else 'differ'}; mean and sd within {error:.0e}"
        return Agreement(words, holds=same and error <= 1e-12)

    return Pair(
        reference=reference,
        ours=ours,
        agree=agree,
        figures=lambda: {"bins of the second pass": float(passes[-1]) if passes else 0.0},
    )
