"""nnU-Net v2's network, loss and training step restated in plain torch, for machines on which it cannot be installed.

What it does is taken from its trainer (2.8.1): a U-Net of two convolutions a level with biases everywhere, instance
norm, LeakyReLU in place; a head on every decoder level; cross-entropy and soft Dice with a one-hot reference, weighted
1, 1/2, 1/4, … over the levels, 0 for the lowest; SGD with Nesterov momentum 0.99 and weight decay 3e-5; gradients
clipped to norm 12; on CUDA fp16 autocast with loss scaling and torch.compile, benchmark mode of cuDNN, and the loss
read by the host after every step. `make bench-peer` compares three steps of it with the trainer's own
(rows ``step/*``; here they gave the same losses to the last bit).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from nnbox.network.unet import UNet
from nnbox.records.plan import Topology

RATE, MOMENTUM, WEIGHT_DECAY, LARGEST_NORM = 1e-2, 0.99, 3e-5, 12.0
SMOOTHING = 1e-5


class Block(nn.Sequential):
    def __init__(self, channels: tuple[int, int], kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        padding = [(size - 1) // 2 for size in kernel]
        super().__init__(
            nn.Conv3d(*channels, kernel, stride, padding, bias=True),
            nn.InstanceNorm3d(channels[1], eps=1e-5, affine=True),
            nn.LeakyReLU(inplace=True),
        )


class PlainConvUNet(nn.Module):
    """Parameters come in the order of the original's."""

    def __init__(self, topology: Topology, *, deep: bool) -> None:
        super().__init__()
        self.deep = deep
        features, kernels, strides = topology.features, topology.kernels, topology.strides
        inputs = (topology.input_channels, *features[:-1])
        one = (1,) * topology.dimension
        self.encoder = nn.ModuleList(
            nn.Sequential(Block((before, after), kernel, stride), Block((after, after), kernel, one))
            for before, after, kernel, stride in zip(inputs, features, kernels, strides, strict=True)
        )
        upward = list(reversed(range(len(features) - 1)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block((2 * features[level], features[level]), kernels[level], one),
                Block((features[level], features[level]), kernels[level], one),
            )
            for level in upward
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(features[level + 1], features[level], strides[level + 1], strides[level + 1])
            for level in upward
        )
        self.heads = nn.ModuleList(nn.Conv3d(features[level], topology.classes, 1) for level in upward)

    def forward(self, image: Tensor) -> list[Tensor] | Tensor:
        """Return logits of every decoder level, the finest first; without deep supervision those of the finest."""
        maps, skips = image, []
        for level in self.encoder:
            maps = level(maps)
            skips.append(maps)
        skips.pop()
        logits = []
        for index, (up, stage, head) in enumerate(zip(self.up, self.stages, self.heads, strict=True)):
            maps = stage(torch.cat((up(maps), skips.pop()), 1))
            if self.deep or index == len(self.up) - 1:
                logits.append(head(maps))
        return logits[::-1] if self.deep else logits[0]


class Dice(nn.Module):
    """The soft Dice of the foreground, with a one-hot reference."""

    def __init__(self, *, batch_dice: bool) -> None:
        super().__init__()
        self.batch_dice = batch_dice

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        softmax, axes = torch.softmax(logits, 1), tuple(range(2, logits.ndim))
        with torch.no_grad():
            reference = torch.zeros(softmax.shape, device=logits.device, dtype=torch.float32)
            reference.scatter_(1, labels.long(), 1)
            reference = reference[:, 1:]
            own = reference.sum(axes, dtype=torch.float32)
        softmax = softmax[:, 1:]
        common = (softmax * reference).sum(axes, dtype=torch.float32)
        found = softmax.sum(axes, dtype=torch.float32)
        if self.batch_dice:
            common, found, own = common.sum(0), found.sum(0), own.sum(0)
        return -((2 * common + SMOOTHING) / (own + found + SMOOTHING).clamp_min(1e-8)).mean()


class RestatedStep:
    """The trainer's step; `take` is its ``train_step``.

    Attributes:
        words: what runs, for the table.
    """

    def __init__(self, topology: Topology, device: str, *, batch_dice: bool, deep: bool, compiled: bool) -> None:
        self.device, on_gpu = torch.device(device), torch.device(device).type == "cuda"
        self.topology, self.deep = topology, deep
        self.network = PlainConvUNet(topology, deep=deep).to(self.device)
        for module in self.network.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight, a=1e-2)
                nn.init.zeros_(module.bias)
        dice = Dice(batch_dice=batch_dice)
        self._network = torch.compile(self.network) if compiled else self.network
        self._dice = torch.compile(dice) if compiled else dice
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), RATE, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM, nesterov=True
        )
        self._scaler = torch.amp.GradScaler("cuda") if on_gpu else None
        self._weights = level_weights(len(topology.features) - 1) if deep else [1.0]
        self.words = "its step restated in plain torch" + (", compiled" if compiled else ", not compiled")

    def take(self, image: Tensor, labels: Sequence[Tensor]) -> float:
        """Take a step; ``labels`` (sample, 1, *space) are on the host, one map per decoder level."""
        image = image.to(self.device, non_blocking=True)
        labels = [label.to(self.device, non_blocking=True) for label in labels]
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.loss(image, labels)
        if self._scaler is None:
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_NORM)
            self._optimizer.step()
        else:
            self._scaler.scale(loss).backward()
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_NORM)
            self._scaler.step(self._optimizer)
            self._scaler.update()
        return float(loss.detach().cpu())

    def set_rate(self, rate: float) -> None:
        """Set the optimiser's rate, as the trainer's scheduler does at an epoch's start."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def loss(self, image: Tensor, labels: Sequence[Tensor]) -> Tensor:
        on_gpu = self.device.type == "cuda"
        with torch.autocast("cuda") if on_gpu else nullcontext():
            found = self._network(image)
            logits = found if self.deep else [found]
            losses = [
                weight * (F.cross_entropy(one, label[:, 0].long()) + self._dice(one, label))
                for weight, one, label in zip(self._weights, logits, labels, strict=True)
                if weight
            ]
            return sum(losses[1:], losses[0])


class _OneOutput(nn.Module):
    """A network whose finest logits alone are wanted; `topology` says what it is."""

    def __init__(self, network: nn.Module, topology: Topology) -> None:
        super().__init__()
        self.network, self.topology = network, topology

    def forward(self, image: Tensor) -> Tensor:
        found = self.network(image)
        return found[0] if isinstance(found, list) else found


def as_one_output(network: nn.Module, topology: Topology) -> nn.Module:
    """Return a network for prediction: the finest logits, no gradients."""
    return _OneOutput(network, topology).requires_grad_(requires_grad=False).eval()


def level_weights(levels: int) -> list[float]:
    """1, 1/2, 1/4, …, the last one 0, normalised to sum 1."""
    weights = [0.5**level for level in range(levels)]
    weights[-1] = 0.0
    return [weight / sum(weights) for weight in weights]


def maps_of_levels(labels: Tensor, topology: Topology, *, deep: bool) -> list[Tensor]:
    """Return (sample, 1, *space) label maps of the decoder's levels, the nearest voxel of each, as its loader does."""
    own = labels.unsqueeze(1)
    if not deep:
        return [own]
    found, size = [], tuple(own.shape[2:])
    for stride in topology.strides[:-1]:
        size = tuple(edge // step for edge, step in zip(size, stride, strict=True))
        found.append(F.interpolate(own.float(), size, mode="nearest-exact").to(own.dtype))
    return found


@torch.no_grad()
def give_weights(ours: UNet, theirs: nn.Module) -> None:
    """Give the original or restated network the weights of ours; what ours lacks (biases, other heads) becomes 0."""
    for target, source in zip(theirs.parameters(), _in_their_order(ours), strict=True):
        if source is None:
            target.zero_()
        else:
            target.copy_(source)


@torch.no_grad()
def same_gradients(ours: UNet, theirs: nn.Module) -> float:
    """Return the largest difference of the weights' gradients, each relative to its tensor's largest.

    A convolution's bias in front of a normalisation has no gradient but rounding, and is left out.
    """
    worst = 0.0
    for parameter, wanted in zip(theirs.parameters(), _in_their_order(ours, gradients=True), strict=True):
        if wanted is None or parameter.grad is None:
            continue
        apart = float((parameter.grad - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))
        worst = max(worst, apart)
    return worst


def _in_their_order(ours: UNet, *, gradients: bool = False) -> list[Tensor | None]:
    def value(parameter: Tensor) -> Tensor:
        return parameter.grad if gradients else parameter

    def block(module: nn.Module, *, joint: bool = False) -> list[Tensor | None]:
        weight = value(module.conv.weight)
        if joint:  # theirs joins what comes from below in front of the skip connection
            half = weight.shape[1] // 2
            weight = torch.cat((weight[:, half:], weight[:, :half]), 1)
        bias = None if gradients else module.conv.bias
        return [weight, bias, value(module.norm.weight), value(module.norm.bias)]

    found = [entry for level in ours.encoder for module in level for entry in block(module)]
    upward = list(reversed(range(len(ours.decoder))))
    for level in upward:
        found += [*block(ours.decoder[level][0], joint=True), *block(ours.decoder[level][1])]
    for level in upward:
        found += [value(ours.up[level].weight), None]
    for level in upward:
        found += [value(ours.head.weight), None] if level == 0 else [None, None]
    return found
