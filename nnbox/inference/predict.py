"""Networks that answer, and all class probabilities of one case at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnbox.inference.model import load_network
from nnbox.inference.passes import Answer, Effort
from nnbox.inference.sweep import Window, sweep
from nnbox.inference.volume import Volume
from nnbox.network.forward import Forward
from nnbox.network.on_card import CardForward
from nnbox.network.precision import autocast, choose_precision
from nnbox.network.unet import UNet
from nnbox.records.plan import Topology
from nnbox.records.precision import Precision

_CPU_CALL_VOXELS = 2**16
_CUDA_CALL_VOXELS = 2**22
_MOST_SAMPLES = 128


def answer_of(network: nn.Module, device: torch.device, precision: Precision) -> Answer:
    """Return what maps a batch of tiles to class probabilities, float32 (batch, classes, *patch).

    Args:
        network: on ``device``, (N, C, *patch) -> logits (N, classes, *patch); it is set to evaluation mode.
        device: where it lies; a `UNet` answers by `Forward` on a CPU, by `CardForward` on a GPU.
        precision: settled, see `nnbox.network.precision.choose_precision`.
    """
    network.eval()
    if isinstance(network, UNet):
        forward = Forward(network, precision) if device.type == "cpu" else CardForward(network, device, precision)
        return forward.probabilities

    def answer(batch: Tensor) -> Tensor:
        with autocast(device, precision):
            return torch.softmax(network(batch).float(), dim=1)

    return answer


def usual_effort(patch_size: Sequence[int], device: torch.device | str) -> Effort:
    """Return how much is done at once where memory does not matter.

    On a CPU every thread has a pass of its own, which wastes nothing on small maps; small tiles go several to a call.
    On a GPU passes and tiles go together. Source: own.
    """
    if torch.device(device).type == "cpu":
        samples = max(1, min(_MOST_SAMPLES, _CPU_CALL_VOXELS // math.prod(patch_size)))
        return Effort(streams=torch.get_num_threads(), threads=1, samples=samples)
    return Effort(samples=max(1, min(_MOST_SAMPLES, _CUDA_CALL_VOXELS // math.prod(patch_size))))


def open_window(
    networks: Sequence[UNet], patch_size: tuple[int, ...], mirror_axes: Sequence[int], device: str, precision: Precision
) -> Window:
    """Return how a configuration's networks, one per member, see a volume.

    Args:
        networks: on ``device``.
        patch_size: tile size in voxels, as many entries as the networks have dimensions.
        mirror_axes: patch axes that may be flipped.
        device: as torch spells it.
        precision: settled or ``auto``.

    Raises:
        ResourceError: the device cannot compute in that precision.
        ValueError: no networks.
    """
    if not networks:
        raise ValueError("a window needs at least one network")
    place = torch.device(device)
    settled = choose_precision(precision, place)
    return Window(
        answers=answers_of(networks, place, settled),
        classes=networks[0].topology.classes,
        patch_size=patch_size,
        mirror_axes=tuple(mirror_axes),
        device=place,
        effort=usual_effort(patch_size, place),
    )


def open_mapped_window(
    weights: Sequence[Path],
    topology: Topology,
    patch_size: tuple[int, ...],
    mirror_axes: Sequence[int],
    precision: Precision,
) -> Window:
    """Return the same on a CPU for networks of which none is kept; see `mapped_answer` and `open_window`."""
    place = torch.device("cpu")
    settled = choose_precision(precision, place)
    return Window(
        answers=tuple(mapped_answer(file, topology, settled) for file in weights),
        classes=topology.classes,
        patch_size=patch_size,
        mirror_axes=tuple(mirror_axes),
        device=place,
        effort=usual_effort(patch_size, place),
    )


def mapped_answer(weights: Path, topology: Topology, precision: Precision) -> Answer:
    """Return what answers on a CPU with a network that is mapped from its file for every batch, and let go after it.

    The file's pages stay in the system's cache while there is room for them, so that mapping takes some milliseconds.
    """

    def answer(batch: Tensor) -> Tensor:
        return answer_of(load_network(weights, topology), torch.device("cpu"), precision)(batch)

    return answer


def answers_of(networks: Sequence[nn.Module], device: torch.device, precision: Precision) -> tuple[Answer, ...]:
    """Return the answers of the members, in their order."""
    return tuple(answer_of(network, device, precision) for network in networks)


def predict_case(window: Window, volume: Volume) -> NDArray[np.float32]:
    """Return the class probabilities of one prepared case on its own grid, averaged over members and mirrored passes.

    Tiles overlap by half and are weighted by a Gaussian; beyond an image smaller than a tile lie zeros. A 2D network
    sees the image slice by slice along axis 0. All classes are held at once; a label map does not need them all:
    `nnbox.inference.label_map`.

    Source: 2018 §2.4; 2019 §2.3

    Returns:
        float32 (classes, z, y, x), non-negative, summing to 1 over the classes up to rounding.
    """
    result = np.empty((window.classes, *volume.shape_vox), dtype=np.float32)
    z_sums, y_sums, x_sums = window.sums(volume.shape_vox)
    for cell in sweep(window, volume, interpolated=(False, False)):
        z, y = slice(cell.z.start, cell.z.stop), slice(cell.y.start, cell.y.stop)
        values = cell.values.cpu().numpy()
        for sums in (z_sums[z, None, None], y_sums[y, None], x_sums):
            values /= sums
        result[:, z, y] = values
        del cell, values  # or they would live until the next is complete
    return result
