"""The sliding window: tiles, mirrored passes and members, averaged into one map of class probabilities."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnbox.inference.tiles import axis_weights, summed_axis_weights, tile_corners

_CPU_BATCH_VOXELS = 2**16
_CUDA_BATCH_VOXELS = 2**22
_MAX_SAMPLES = 128
_Window = tuple[slice, slice, slice]
_Item = TypeVar("_Item")


def predict_case(
    networks: Sequence[nn.Module],
    image: NDArray[np.float32],
    *,
    patch_size: Sequence[int],
    dimension: int,
    mirror_axes: Sequence[int],
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Return the class probabilities of one prepared image, averaged over members and mirrored passes.

    Tiles overlap by half and are weighted by a Gaussian; an axis shorter than the patch is padded with zeros. A 2D
    network sees the image slice by slice along axis 0, many slices in one pass. Arithmetic is float32 on a CPU and
    mixed precision on a GPU; probabilities are always averaged in float32.

    Source: 2018 §2.4; 2019 §2.3

    Args:
        networks: the members, each on ``device``, (N, C, *patch) -> logits (N, classes, *patch). They are set to
            evaluation mode.
        image: float32 (C, z, y, x) in working order, one-hot channels of a previous stage included (`with_previous`).
        patch_size: tile size in voxels, ``dimension`` entries, working order.
        dimension: 2 or 3, of the networks.
        mirror_axes: patch axes (0-based, as in `nnbox.records.augmentation`) that may be flipped; every combination
            of them is one pass, the unflipped one included. Empty: no mirroring.
        device: where the networks lie.

    Returns:
        float32 (classes, z, y, x), non-negative, summing to 1 over the classes up to rounding.

    Raises:
        ValueError: no networks, or sizes that do not fit together.
    """
    if not networks or dimension not in {2, 3} or len(patch_size) != dimension or image.ndim != 4:
        raise ValueError(
            f"cannot predict {image.shape} with {len(networks)} {dimension}D networks and patch {tuple(patch_size)}"
        )
    for network in networks:
        network.eval()
    place = torch.device(device)
    window = _Sliding(dimension, tuple(patch_size), _mirror_passes(mirror_axes), place)
    with torch.inference_mode(), _precision(place):
        return window.run(networks, image)


def with_previous(
    image: NDArray[np.float32], previous_labels: NDArray[np.integer], label_count: int
) -> NDArray[np.float32]:
    """Append the previous stage's labels to an image as one-hot channels, background left out.

    Source: 2018 §2.1 (cascade)

    Args:
        image: float32 (C, z, y, x).
        previous_labels: integers (z, y, x), 0 is background, labels are 1..K.
        label_count: K, the number of foreground labels.

    Returns:
        float32 (C + K, z, y, x).

    Raises:
        ValueError: shapes differ, or a label exceeds K.
    """
    if previous_labels.shape != image.shape[1:]:
        raise ValueError(f"previous labels of shape {previous_labels.shape} do not fit an image of {image.shape[1:]}")
    if previous_labels.size and int(previous_labels.max()) > label_count:
        raise ValueError(f"previous label {int(previous_labels.max())} exceeds the {label_count} labels of the task")
    channels = image.shape[0]
    joined = np.empty((channels + label_count, *image.shape[1:]), dtype=np.float32)
    joined[:channels] = image
    for label in range(1, label_count + 1):
        np.equal(previous_labels, label, out=joined[channels + label - 1], casting="unsafe")
    return joined


def _mirror_passes(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Every subset of the axes, the empty one first: 8 passes for three axes, 4 for two."""
    return tuple(itertools.chain.from_iterable(itertools.combinations(sorted(axes), n) for n in range(len(axes) + 1)))


def _precision(device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast("cuda", dtype=torch.float16) if device.type == "cuda" else nullcontext()


class _Sliding:
    """One walk of the window over one image; a 2D patch is a volume of one slice here."""

    def __init__(
        self, dimension: int, patch_size: tuple[int, ...], passes: tuple[tuple[int, ...], ...], device: torch.device
    ) -> None:
        self.flat = dimension == 2
        self.patch = (1, *patch_size) if self.flat else patch_size
        self.passes = passes
        self.device = device
        budget = _CUDA_BATCH_VOXELS if device.type == "cuda" else _CPU_BATCH_VOXELS
        self.samples = max(1, min(_MAX_SAMPLES, budget // int(np.prod(patch_size))))
        weights = [torch.from_numpy(axis_weights(size)) for size in self.patch]
        self.weights = torch.einsum("z,y,x->zyx", *weights).to(device)

    def run(self, networks: Sequence[nn.Module], image: NDArray[np.float32]) -> NDArray[np.float32]:
        padded, inside = self._padded(image)
        shape = tuple(padded.shape[1:])
        corners = tile_corners(shape, self.patch)
        total: Tensor | None = None
        for group in _chunks(corners, max(1, self.samples // len(self.passes))):
            windows = [self._window(corner) for corner in group]
            tiles = torch.stack([padded[(slice(None), *window)] for window in windows]).to(self.device)
            probabilities = self._mean_over_passes(networks, tiles)
            if total is None:
                total = self._accumulator(probabilities.shape[1], shape)
            for window, probability in zip(windows, probabilities, strict=True):
                total[(slice(None), *window)] += (probability * self.weights).to(total.device)
        if total is None:
            raise ValueError("the image holds no voxel")
        for axis, (size, patch) in enumerate(zip(shape, self.patch, strict=True)):
            sums = torch.from_numpy(summed_axis_weights(size, patch)).to(total.device)
            total /= sums.view([-1 if axis == other else 1 for other in range(3)])
        return np.ascontiguousarray(total[(slice(None), *inside)].cpu().numpy())

    def _padded(self, image: NDArray[np.float32]) -> tuple[Tensor, _Window]:
        """Pad each axis up to one patch with zeros, half on either side; also return where the image lies in it."""
        missing = [max(patch - size, 0) for size, patch in zip(image.shape[1:], self.patch, strict=True)]
        before = [gap // 2 for gap in missing]
        z, y, x = (slice(gap, gap + size) for gap, size in zip(before, image.shape[1:], strict=True))
        if any(missing):
            sides = ((0, 0), *((first, gap - first) for first, gap in zip(before, missing, strict=True)))
            image = np.pad(image, sides)
        return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), (z, y, x)

    def _window(self, corner: tuple[int, ...]) -> _Window:
        z, y, x = (slice(start, start + size) for start, size in zip(corner, self.patch, strict=True))
        return (z, y, x)

    def _mean_over_passes(self, networks: Sequence[nn.Module], tiles: Tensor) -> Tensor:
        """Average softmax over mirrored passes and members: (N, C, z, y, x) -> float32 (N, classes, z, y, x)."""
        inputs = tiles.squeeze(2) if self.flat else tiles
        count = len(inputs)
        total: Tensor | None = None
        for flips in _chunks(self.passes, max(1, self.samples // count)):
            axes = [[axis + 2 for axis in flip] for flip in flips]
            batch = torch.cat([inputs.flip(flip) if flip else inputs for flip in axes])
            for network in networks:
                outputs = torch.softmax(network(batch).float(), dim=1)
                for flip, part in zip(axes, torch.split(outputs, count), strict=True):
                    straight = part.flip(flip) if flip else part
                    total = straight.clone() if total is None else total.add_(straight)
        if total is None:
            raise ValueError("no pass was made")
        total /= len(networks) * len(self.passes)
        return total.unsqueeze(2) if self.flat else total

    def _accumulator(self, classes: int, shape: tuple[int, ...]) -> Tensor:
        """Make the running sum on the device where it fits, else in main memory."""
        size = (classes, *shape)
        if self.device.type != "cuda":
            return torch.zeros(size)
        free_bytes, _ = torch.cuda.mem_get_info(self.device)
        fits = 4 * int(np.prod(size)) * 2 < free_bytes
        return torch.zeros(size, device=self.device if fits else "cpu")


def _chunks(items: Sequence[_Item], count: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), count):
        yield items[start : start + count]
