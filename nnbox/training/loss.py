"""Cross-entropy plus soft Dice on softmax, with an analytic gradient; no one-hot volume, and no softmax is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from nnbox.network.pieces import channels_last, pieces, rows
from nnbox.rules.loss import DICE_SMOOTHING


def segmentation_loss(logits: Tensor, labels: Tensor, *, batch_dice: bool, kernels: bool = False) -> Tensor:
    """Return the mean cross-entropy minus the mean soft Dice of the foreground classes.

    With softmax u and reference v, the Dice of a class is (2 Σuv + 1e-5) / (Σu + Σv + 1e-5); the background class is
    left out of it. The sums run over the whole batch as if it were one sample, or over each sample apart, averaged
    over the batch. Cross-entropy is the mean over all voxels.

    Source: 2018 §2.3, 2019 §2.2; release for the smoothing and the background

    Args:
        logits: float (batch, classes, *space), at least 2 classes; computed in float32 (or float64 as given).
        labels: integer (batch, *space), values below the number of classes; negative ("outside") counts as background.
        batch_dice: the batch counts as one sample.
        kernels: compute by `nnbox.training.loss_kernels`, on a card; else by ordinary torch calls.

    Returns:
        A scalar tensor; at best -1.
    """
    loss: Tensor = _CrossEntropyAndDice.apply(logits, labels.flatten(1).contiguous(), batch_dice, kernels)  # type: ignore[no-untyped-call]
    return loss


@dataclass(slots=True)
class _Piece:
    """Some voxels of a sample: softmax (classes, voxels), int64 label (voxels) and probability of the label."""

    softmax: Tensor
    labels: Tensor
    chosen: Tensor
    cross_entropy: Tensor


def _piece(logits: Tensor, labels: Tensor) -> _Piece:
    """Take (voxels, classes) logits; the classes come first in what is computed, so that it runs along the voxels."""
    wide = logits.t().to(torch.promote_types(logits.dtype, torch.float32)).contiguous()
    index = labels.long().clamp(min=0)
    highest = wide.amax(dim=0)
    softmax = (wide - highest).exp_()
    total = softmax.sum(dim=0)
    softmax /= total
    own = index.unsqueeze(0)
    chosen_logit = wide.gather(0, own).squeeze(0)
    return _Piece(softmax, index, softmax.gather(0, own).squeeze(0), (highest + total.log() - chosen_logit).sum())


def sums_by_index(labels: Tensor, values: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return per class the sum of ``values`` and the number of voxels with that label, in one sequential pass."""
    start = values.new_zeros(classes)
    return start.index_add(0, labels, values), start.index_add(0, labels, torch.ones_like(values))


def sums_by_mask(labels: Tensor, values: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """The same in one pass per class: on a GPU faster than, and unlike, adding in no fixed order to a few places."""
    masks = [labels == index for index in range(classes)]
    return torch.stack([(values * mask).sum() for mask in masks]), torch.stack([mask.sum() for mask in masks])


class _CrossEntropyAndDice(Function):
    """The loss as one node of the graph: it keeps the logits and, per sample and class, two coefficients.

    With D = Σu + Σv + s and N = 2 Σuv + s, the Dice's derivative by u at a voxel is (2 v D - N) / D², so that beside
    the softmax only the label of a voxel is needed, and the softmax's own derivative takes one weighted sum.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        labels: Tensor,
        batch_dice: bool,  # noqa: FBT001
        kernels: bool,  # noqa: FBT001
    ) -> Tensor:
        """Take (batch, classes, *space) logits and (batch, voxels) labels."""
        logits = logits if channels_last(logits) else logits.contiguous()
        view = rows(logits)
        samples, voxels, classes = view.shape
        cross_entropy, overlap, volume = _sums_by_kernels(view, labels) if kernels else _sums(view, labels)
        overlap, volume = overlap[:, 1:], volume[:, 1:]
        if batch_dice:
            overlap, volume = overlap.sum(dim=0, keepdim=True), volume.sum(dim=0, keepdim=True)
        numerator, denominator = 2 * overlap + DICE_SMOOTHING, volume + DICE_SMOOTHING
        share = -1.0 / numerator.numel()
        background = numerator.new_zeros((numerator.shape[0], 1))
        at_label = torch.cat((background, share * 2 / denominator), dim=1).expand(samples, classes)
        everywhere = torch.cat((background, -share * numerator / denominator**2), dim=1).expand(samples, classes)
        wide = torch.promote_types(logits.dtype, torch.float32)
        ctx.save_for_backward(logits, labels, at_label.to(wide), everywhere.to(wide))
        ctx.kernels = kernels  # type: ignore[attr-defined]
        loss: Tensor = cross_entropy / (samples * voxels) + share * (numerator / denominator).sum()
        return loss.to(wide)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the logits, in their type and memory order."""
        logits, labels, at_label, everywhere = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = torch.empty_like(logits)
        view, target = rows(logits), rows(gradient)
        if ctx.kernels:  # type: ignore[attr-defined]
            from nnbox.training import loss_kernels  # noqa: PLC0415 - Triton is only there where it is used

            loss_kernels.write_gradient(target, view, labels, (at_label, everywhere), outer)
        else:
            _write_gradient(target, view, labels, (at_label, everywhere), outer)
        return gradient, None, None, None


def _sums_by_kernels(view: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from nnbox.training import loss_kernels  # noqa: PLC0415

    return loss_kernels.sums(view, labels)


def _sums(view: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the summed cross-entropy, and (samples, classes) Σuv and Σu + Σv, of (samples, voxels, classes) logits."""
    samples, _, classes = view.shape
    sums_by_label = sums_by_index if view.device.type == "cpu" else sums_by_mask
    cross_entropy = torch.zeros((), dtype=torch.float64, device=view.device)
    overlap, volume = torch.zeros((2, samples, classes), dtype=torch.float64, device=view.device)
    for piece in pieces(view):
        part = _piece(view[piece], labels[piece])
        cross_entropy += part.cross_entropy
        common, counts = sums_by_label(part.labels, part.chosen, classes)
        overlap[piece[0]] += common
        volume[piece[0]] += part.softmax.sum(dim=1) + counts
    return cross_entropy, overlap, volume


def _write_gradient(
    target: Tensor, view: Tensor, labels: Tensor, coefficients: tuple[Tensor, Tensor], outer: Tensor
) -> None:
    """Write the gradient of the logits; the coefficients are those of a voxel's own label, and those everywhere."""
    at_label, everywhere = coefficients
    weight = 1.0 / (view.shape[0] * view.shape[1])
    for piece in pieces(view):
        part = _piece(view[piece], labels[piece])
        steady = everywhere[piece[0]]
        own = at_label[piece[0]].index_select(0, part.labels)
        own_share = own * part.chosen
        mean = torch.mv(part.softmax.t(), steady) + own_share
        found = part.softmax.mul_((steady + weight).unsqueeze(1) - mean)
        found.scatter_add_(0, part.labels.unsqueeze(0), (own_share - weight).unsqueeze(0))
        target[piece] = found.mul_(outer).t()
