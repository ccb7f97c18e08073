"""What the window sees: an image, and for a second stage the labels of the first, cut into tiles as they are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnbox.geometry import Shape3
from nnbox.inference.walk import Corner


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A prepared case.

    Attributes:
        image: float32 (channel, z, y, x), working order.
        previous: integers (z, y, x), a first stage's labels 0..K on the same grid, or None.
        label_count: K; labels become K one-hot channels behind the image's. Source: 2018 §2.1 (cascade).
    """

    image: NDArray[np.float32]
    previous: NDArray[np.integer] | None = None
    label_count: int = 0

    def __post_init__(self) -> None:
        """See that the parts fit.

        Raises:
            ValueError: shapes differ, or a label exceeds K.
        """
        if self.image.ndim != 4 or not self.image.size:
            raise ValueError(f"an image of shape {self.image.shape} holds no voxel")
        if self.previous is None:
            return
        if self.previous.shape != self.image.shape[1:]:
            raise ValueError(
                f"previous labels of shape {self.previous.shape} do not fit an image of {self.image.shape[1:]}"
            )
        if int(self.previous.max()) > self.label_count:
            raise ValueError(f"previous label {int(self.previous.max())} exceeds the {self.label_count} labels")

    @property
    def shape_vox(self) -> Shape3:
        """(z, y, x)."""
        _, z, y, x = self.image.shape
        return z, y, x

    def tile(self, corner: Corner, patch_vox: Shape3) -> Tensor:
        """Cut a tile: float32 (channels + K, *patch_vox); zeros beyond the volume."""
        z, y, x = (
            slice(max(first, 0), min(first + length, size))
            for first, length, size in zip(corner, patch_vox, self.shape_vox, strict=True)
        )
        a, b, c = (slice(part.start - at, part.stop - at) for part, at in zip((z, y, x), corner, strict=True))
        channels = len(self.image)
        tile = np.zeros((channels + (0 if self.previous is None else self.label_count), *patch_vox), dtype=np.float32)
        tile[:channels, a, b, c] = self.image[:, z, y, x]
        if self.previous is not None:
            labels = self.previous[z, y, x]
            for label in range(1, self.label_count + 1):
                tile[channels + label - 1, a, b, c] = labels == label
        return torch.from_numpy(tile)
