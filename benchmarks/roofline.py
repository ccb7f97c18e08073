"""The least time a training step or a forward pass can take on a card: counted operations and bytes, measured rates.

Counted per layer, and summed: max(operations / matrix rate, bytes / copy rate). So the floor is that of a program which
runs layer after layer, each at the better of the two rates the card was measured to have, and nothing in between.

* Operations: 2 per multiply-add of every convolution, padding included (as torch's flop counter has it). Backward twice
  the same, once for the first convolution, whose input needs no gradient. What else is computed is not counted.
* Bytes: a convolution reads its input and its weights once and writes its output once; backward it reads the gradient
  of its output twice (for the input's and for the weights'), its input and its weights once, and writes both
  gradients. Normalisation with rectifier is one operation: it reads maps twice and writes once; backward it reads maps
  and gradient twice and writes once. Joining a skip connection reads and writes both halves. The loss reads the logits
  twice forward, twice backward, and writes their gradient once. The optimiser is Adam with amsgrad on float32: it reads
  weight, gradient and three sums, and writes weight and sums. In 16 bits the weights are also cast, and their gradients
  cast back: read in 4 bytes and written in 2, and the other way round. Labels and biases are not counted. Whatever is
  fused further could go below; caches are taken to hold nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from nnbox.network.counting import parameter_count
from nnbox.records.plan import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one layer does in one direction: operations and bytes."""

    name: str
    operations: float
    moved_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of a card, measured: operations of a matrix product and bytes of a copy (read and written), per second."""

    operations_per_second: float
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution of a U-Net; sizes are elements of one batch."""

    name: str
    given: int
    made: int
    weights: int
    multiply_adds: float
    normalized: bool
    joined: bool = False


def training_step(topology: Topology, patch: Sequence[int], batch: int, element_bytes: int) -> tuple[Work, ...]:
    """Return the work of a step: forward, loss, backward, optimiser."""
    layers = _layers(topology, patch, batch)
    found = list(forward_pass(topology, patch, batch, element_bytes))
    logits = layers[-1].made * element_bytes
    found.append(Work(name="loss", operations=0, moved_bytes=5 * logits))
    for place, layer in enumerate(reversed(layers)):
        if layer.normalized:
            norm = 5 * layer.made * element_bytes
            found.append(Work(name=f"{layer.name} norm backward", operations=0, moved_bytes=norm))
        passes = 2 if place < len(layers) - 1 else 1
        given = layer.given * (2 if passes == 2 else 1)
        moved = (2 if passes == 2 else 1) * layer.made + given + 2 * layer.weights
        found.append(
            Work(
                name=f"{layer.name} backward",
                operations=2 * passes * layer.multiply_adds,
                moved_bytes=moved * element_bytes,
            )
        )
        if layer.joined:
            joined = 2 * layer.given * element_bytes
            found.append(Work(name=f"{layer.name} join backward", operations=0, moved_bytes=joined))
    parameters = parameter_count(topology)
    found.append(Work(name="optimiser", operations=0, moved_bytes=9 * 4 * parameters))
    if element_bytes < 4:
        found.append(Work(name="casts", operations=0, moved_bytes=2 * (4 + element_bytes) * parameters))
    return tuple(found)


def forward_pass(topology: Topology, patch: Sequence[int], batch: int, element_bytes: int) -> tuple[Work, ...]:
    """Return the work of a forward pass."""
    found = []
    for layer in _layers(topology, patch, batch):
        if layer.joined:
            moved = 2 * layer.given * element_bytes
            found.append(Work(name=f"{layer.name} join", operations=0, moved_bytes=moved))
        moved = (layer.given + layer.weights + layer.made) * element_bytes
        found.append(Work(name=layer.name, operations=2 * layer.multiply_adds, moved_bytes=moved))
        if layer.normalized:
            moved = 3 * layer.made * element_bytes
            found.append(Work(name=f"{layer.name} norm", operations=0, moved_bytes=moved))
    return tuple(found)


def operations(work: Iterable[Work]) -> float:
    return sum(item.operations for item in work)


def moved_bytes(work: Iterable[Work]) -> float:
    return sum(item.moved_bytes for item in work)


def floor_seconds(work: Iterable[Work], rates: Rates) -> float:
    """Return the least time; see the module."""
    return sum(
        max(item.operations / rates.operations_per_second, item.moved_bytes / rates.bytes_per_second) for item in work
    )


def _layers(topology: Topology, patch: Sequence[int], batch: int) -> list[_Layer]:
    """Return the convolutions in the order in which they run."""
    features, kernels = topology.features, topology.kernels
    voxels, sizes = [], tuple(patch)
    for stride in topology.strides:
        sizes = tuple(size // step for size, step in zip(sizes, stride, strict=True))
        voxels.append(batch * math.prod(sizes))
    first = batch * math.prod(patch)
    found = []
    before, given = topology.input_channels, first
    for level, after in enumerate(features):
        found.append(_block(f"down {level}.0", (before, after), kernels[level], (given, voxels[level])))
        found.append(_block(f"down {level}.1", (after, after), kernels[level], (voxels[level],) * 2))
        before, given = after, voxels[level]
    for level in reversed(range(len(features) - 1)):
        below, after, step = features[level + 1], features[level], math.prod(topology.strides[level + 1])
        weights, made = below * after * step, voxels[level] * after
        taps = float(voxels[level] * below * after)  # each voxel that is made has one tap
        found.append(_Layer(f"up {level}", voxels[level + 1] * below, made, weights, taps, normalized=False))
        joint = _block(f"up {level}.0", (2 * after, after), kernels[level], (voxels[level],) * 2, joined=True)
        found += [joint, _block(f"up {level}.1", (after, after), kernels[level], (voxels[level],) * 2)]
    head = features[0] * topology.classes
    made = voxels[0] * topology.classes
    found.append(_Layer("head", voxels[0] * features[0], made, head, float(voxels[0] * head), normalized=False))
    return found


def _block(
    name: str, channels: tuple[int, int], kernel: Sequence[int], voxels: tuple[int, int], *, joined: bool = False
) -> _Layer:
    weights = math.prod(channels) * math.prod(kernel)
    given, made = voxels[0] * channels[0], voxels[1] * channels[1]
    return _Layer(name, given, made, weights, float(voxels[1] * weights), normalized=True, joined=joined)


def measure_rates(device: str, kind: torch.dtype, *, size: int = 8192, copied_bytes: int = 2**30) -> Rates:
    """Measure a matrix product of ``size`` cubed and a copy within the device's memory; the best of several."""
    left, right = (torch.randn((size, size), device=device).to(kind) for _ in range(2))
    product = best_seconds(lambda: torch.mm(left, right), device)
    source = torch.empty(copied_bytes // 4, dtype=torch.float32, device=device).fill_(1)
    target = torch.empty_like(source)
    copy = best_seconds(lambda: target.copy_(source), device)
    return Rates(operations_per_second=2 * size**3 / product, bytes_per_second=2 * source.nbytes / copy)


def best_seconds(work: object, device: str, rounds: int = 7) -> float:
    """Return the shortest of several calls, waited for, after two that are not timed."""
    seconds = []
    for number in range(rounds + 2):
        synchronize(device)
        began = time.perf_counter()
        work()
        synchronize(device)
        if number >= 2:
            seconds.append(time.perf_counter() - began)
    return min(seconds)


def synchronize(device: str) -> None:
    """Wait until the device has done everything asked of it."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
