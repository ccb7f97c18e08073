"""Slices of a case with its labels, as pictures: three planes through the largest disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnbox.geometry import Shape3
from nnbox.report.document import Picture
from nnbox.report.figures import encode_png
from nnbox.report.images import CaseImages

LONGEST_PX = 320
_GAP_PX = 6
OUTLINE = (240, 228, 66)
MISSED, ADDED, CONFUSED = (60, 150, 230), (230, 110, 20), (220, 120, 190)
LABELS_ALONE = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
_TINT = 0.55
_ROOM = 1.5
_SMALLEST_SHARE = 0.35
# Which axis runs down the picture: head to foot before front to back before side to side.
_PRIORITY = {"S": 0, "I": 0, "A": 1, "P": 1, "L": 2, "R": 2}
_PLANES = ("axial", "coronal", "sagittal")


def largest_disagreement(reference: NDArray[np.integer] | None, prediction: NDArray[np.integer]) -> Shape3:
    """Return the voxel deepest inside the largest connected region where two label maps differ.

    Where they agree: inside the largest region of foreground; without any foreground: the middle. Without a reference
    the largest region of predicted foreground is meant. Source: own.
    """
    candidates = [prediction > 0] if reference is None else [reference != prediction, reference > 0]
    for mask in candidates:
        box = _largest_region(mask)
        if box is not None:
            corner, region = box
            depth = ndimage.distance_transform_edt(np.pad(region, 1))
            deepest = np.unravel_index(int(np.argmax(depth)), depth.shape)
            z, y, x = (int(start + index) - 1 for start, index in zip(corner, deepest, strict=True))
            return z, y, x
    z, y, x = (size // 2 for size in prediction.shape)
    return z, y, x


def _largest_region(mask: NDArray[np.bool_]) -> tuple[Shape3, NDArray[np.bool_]] | None:
    """Return the corner and the mask, cut to its box, of the largest face-connected region; None where all is False."""
    regions, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    largest = int(np.argmax(sizes))
    box = ndimage.find_objects(regions, max_label=largest)[largest - 1]
    if box is None:
        raise ValueError("a region without a place")
    z, y, x = (part.start for part in box)
    return (z, y, x), regions[box] == largest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plane:
    """One slice of a case: plain and with its labels, uint8 RGB (y, x, 3), and both in words."""

    caption: str
    said: str
    plain: NDArray[np.uint8]
    marked: NDArray[np.uint8]


def pictures(images: CaseImages) -> tuple[tuple[Picture, Picture], ...]:
    """Return, for each plane through the largest disagreement, the plain slice and the slice with its labels."""
    told = "prediction" if images.reference is None else "reference and prediction"
    return tuple(
        (
            Picture(
                alt=f"{plane.caption} of {images.case}, {images.channel}",
                caption=plane.caption,
                png=encode_png(plane.plain),
            ),
            Picture(
                alt=f"The same slice with {told}: {plane.said}", caption=plane.caption, png=encode_png(plane.marked)
            ),
        )
        for plane in planes(images)
    )


def contact_sheet(images: CaseImages) -> bytes:
    """Return one PNG of all planes: plain slices above, the same with labels below."""
    found = planes(images)
    height = max(plane.plain.shape[0] for plane in found)

    def row(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        padded = [np.pad(part, ((0, height - part.shape[0]), (0, 0), (0, 0))) for part in parts]
        gap = np.zeros((height, _GAP_PX, 3), dtype=np.uint8)
        return np.concatenate([piece for part in padded for piece in (part, gap)][:-1], axis=1)

    upper = row([plane.plain for plane in found])
    gap = np.zeros((_GAP_PX, upper.shape[1], 3), dtype=np.uint8)
    return encode_png(np.concatenate([upper, gap, row([plane.marked for plane in found])]))


def planes(images: CaseImages) -> tuple[Plane, ...]:
    """Cut a case in its three planes through the largest disagreement, head to foot first; 2D: the image itself."""
    point = largest_disagreement(images.reference, images.prediction)
    axes = sorted(range(3), key=lambda axis: _PRIORITY[images.orientation[axis]])
    return tuple(_plane(images, axis, point) for axis in ([0] if images.prediction.shape[0] == 1 else axes))


def _plane(images: CaseImages, axis: int, point: Shape3) -> Plane:
    down, across = _directions(images.orientation, axis)
    letters = images.orientation
    flips = (letters[down] in "SA", letters[across] in "RA")

    def cut(volume: NDArray[np.generic]) -> NDArray[np.generic]:
        plane: NDArray[np.generic] = np.take(volume, point[axis], axis=axis - 3)
        if down > across:
            plane = np.swapaxes(plane, -1, -2)
        rows, columns = (slice(None, None, -1 if flipped else 1) for flipped in flips)
        return plane[..., rows, columns]

    prediction = np.asarray(cut(images.prediction), dtype=np.int32)
    reference = None if images.reference is None else np.maximum(np.asarray(cut(images.reference), np.int32), 0)
    view = _field_of_view(prediction if reference is None else np.maximum(prediction, reference))
    spacing = (images.spacing_mm[down], images.spacing_mm[across])
    shape_px = _pixels((view[0].stop - view[0].start, view[1].stop - view[1].start), spacing)
    plain = _grey(np.asarray(cut(images.image))[(..., *view)], images.window, shape_px)
    flat = images.prediction.shape[0] == 1
    where = f"{_PLANES[_PRIORITY[letters[axis]]]} slice {point[axis] + 1} of {images.prediction.shape[axis]}"
    return Plane(
        caption="image" if flat else where,
        said=_said(reference, prediction),
        plain=plain,
        marked=_marked(plain, None if reference is None else reference[view], prediction[view]),
    )


def _directions(orientation: str, axis: int) -> tuple[int, int]:
    """Return which of the other axes runs down the picture and which across it."""
    down, across = sorted((other for other in range(3) if other != axis), key=lambda a: _PRIORITY[orientation[a]])
    return down, across


def _field_of_view(labels: NDArray[np.int32]) -> tuple[slice, slice]:
    """Return the part of a slice to show: its labels with half as much around them, at least a third of the slice."""
    rows, columns = np.nonzero(labels)
    if rows.size == 0:
        return slice(0, labels.shape[0]), slice(0, labels.shape[1])
    spans = []
    for places, size in ((rows, labels.shape[0]), (columns, labels.shape[1])):
        first, last = int(places.min()), int(places.max()) + 1
        length = min(size, max(round(_ROOM * (last - first)), round(_SMALLEST_SHARE * size)))
        start = min(max(0, (first + last - length) // 2), size - length)
        spans.append(slice(start, start + length))
    return spans[0], spans[1]


def _pixels(shape_vox: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[int, int]:
    """Return the size of a picture whose pixels are square."""
    lengths = [size * spacing for size, spacing in zip(shape_vox, spacing_mm, strict=True)]
    down, across = (max(8, round(LONGEST_PX * length / max(lengths))) for length in lengths)
    return down, across


def _grey(values: NDArray[np.generic], window: tuple[float, float], shape_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Return RGB pixels (y, x, 3) of a slice (y, x), or of a colour picture (3, y, x)."""
    if values.ndim == 3:
        return np.stack([_zoomed(part.astype(np.float32), shape_px) for part in values], axis=-1).astype(np.uint8)
    low, high = window
    level = np.nan_to_num((values.astype(np.float32) - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    grey = _zoomed(np.clip(level, 0, 1), shape_px) * 255
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=-1)


def _zoomed(values: NDArray[np.float32], shape_px: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate a slice linearly, pixel centres on pixel centres."""
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(shape_px, values.shape, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    return np.asarray(ndimage.map_coordinates(values, grid, order=1, mode="nearest"), dtype=np.float32)


def _labels(labels: NDArray[np.int32], shape_px: tuple[int, int]) -> NDArray[np.int32]:
    """Enlarge a label map with smooth borders: at each pixel the label with the largest interpolated share."""
    best = np.zeros(shape_px, dtype=np.float32)
    result = np.zeros(shape_px, dtype=np.int32)
    for value in np.unique(labels):
        share = _zoomed((labels == value).astype(np.float32), shape_px)
        closer = share > best
        best[closer], result[closer] = share[closer], value
    return result


def _marked(
    plain: NDArray[np.uint8], reference: NDArray[np.int32] | None, prediction: NDArray[np.int32]
) -> NDArray[np.uint8]:
    pixels = plain.astype(np.float32)
    shape = (plain.shape[0], plain.shape[1])
    found = _labels(prediction, shape)
    if reference is None:
        for label in (int(value) for value in np.unique(found) if value > 0):
            color = LABELS_ALONE[(label - 1) % len(LABELS_ALONE)]
            _tint(pixels, found == label, color, 0.35)
            _tint(pixels, _outline(np.where(found == label, label, 0)), color, 1.0)
        return np.rint(pixels).astype(np.uint8)
    wanted = _labels(reference, shape)
    _tint(pixels, (wanted > 0) & (found == 0), MISSED, _TINT)
    _tint(pixels, (wanted == 0) & (found > 0), ADDED, _TINT)
    _tint(pixels, (wanted > 0) & (found > 0) & (wanted != found), CONFUSED, _TINT)
    _tint(pixels, _outline(wanted), OUTLINE, 1.0)
    return np.rint(pixels).astype(np.uint8)


def _tint(pixels: NDArray[np.float32], where: NDArray[np.bool_], color: Sequence[int], share: float) -> None:
    pixels[where] = (1 - share) * pixels[where] + share * np.asarray(color, dtype=np.float32)


def _outline(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the pixels of a label that touch another label or the background."""
    padded = np.pad(labels, 1)
    edge = np.zeros(labels.shape, dtype=np.bool_)
    for shift in ((0, 1), (2, 1), (1, 0), (1, 2)):
        rows, columns = (slice(start, start + size) for start, size in zip(shift, labels.shape, strict=True))
        edge |= padded[rows, columns] != labels
    return edge & (labels > 0)


def _said(reference: NDArray[np.int32] | None, prediction: NDArray[np.int32]) -> str:
    """Say in words what a slice shows."""
    if reference is None:
        return "labels outlined" if prediction.any() else "no label in this slice"
    words = [
        word
        for word, where in (
            ("missed", (reference > 0) & (prediction == 0)),
            ("added", (reference == 0) & (prediction > 0)),
            ("confused", (reference > 0) & (prediction > 0) & (reference != prediction)),
        )
        if where.any()
    ]
    return f"some voxels {', '.join(words)}" if words else "they agree in this slice"
