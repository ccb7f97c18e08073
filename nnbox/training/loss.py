"""Cross-entropy plus soft Dice on softmax, with an analytic gradient and no one-hot volumes."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

from nnbox.rules.loss import DICE_SMOOTHING


def segmentation_loss(logits: Tensor, labels: Tensor, *, batch_dice: bool) -> Tensor:
    """Return the mean cross-entropy minus the mean soft Dice of the foreground classes.

    With softmax u and reference v, the Dice of a class is (2 Σuv + 1e-5) / (Σu + Σv + 1e-5); the background class is
    left out of it. The sums run over the whole batch as if it were one sample, or over each sample apart, averaged
    over the batch. Cross-entropy is the mean over all voxels.

    Source: 2018 §2.3, 2019 §2.2; release for the smoothing and the background

    Args:
        logits: float (batch, classes, *space), at least 2 classes; computed in float32 (or float64 as given).
        labels: integer (batch, *space), values below the number of classes; negative ("outside") counts as background.
        batch_dice: the batch counts as one sample.

    Returns:
        A scalar tensor; at best -1.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    flat_labels = labels.to(device=logits.device, dtype=torch.int64).clamp(min=0).flatten(1)
    loss: Tensor = _CrossEntropyAndDice.apply(wide.flatten(2), flat_labels, batch_dice)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropyAndDice(Function):
    """The loss as one node of the graph: it keeps the softmax and, per sample and class, two coefficients.

    With D = Σu + Σv + s and N = 2 Σuv + s, the Dice's derivative by u at a voxel is (2 v D - N) / D², so that beside
    the softmax only the label of a voxel is needed, and the softmax's own derivative takes one weighted sum.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, labels: Tensor, batch_dice: bool) -> Tensor:  # noqa: FBT001
        """Take (batch, classes, voxels) logits and (batch, voxels) int64 labels."""
        log_softmax = F.log_softmax(logits, dim=1)
        log_chosen = log_softmax.gather(1, labels.unsqueeze(1)).squeeze(1)
        cross_entropy = -log_chosen.mean()
        softmax = log_softmax.exp_()
        classes = logits.shape[1]
        chosen = log_chosen.exp_()
        masks = [labels == index for index in range(1, classes)]
        overlap = torch.stack([(chosen * mask).sum(dim=1) for mask in masks], dim=1)
        volume = torch.stack([mask.sum(dim=1) for mask in masks], dim=1).to(logits.dtype)
        volume = volume + softmax[:, 1:].sum(dim=2)
        if batch_dice:
            overlap, volume = overlap.sum(dim=0, keepdim=True), volume.sum(dim=0, keepdim=True)
        numerator, denominator = 2 * overlap + DICE_SMOOTHING, volume + DICE_SMOOTHING
        share = -1.0 / numerator.numel()
        at_label = share * 2 / denominator
        everywhere = -share * numerator / denominator**2
        ctx.save_for_backward(softmax, labels, at_label, everywhere)
        return cross_entropy + share * (numerator / denominator).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, outer: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the logits."""
        softmax, labels, at_label, everywhere = ctx.saved_tensors  # type: ignore[attr-defined]
        samples, classes, voxels = softmax.shape
        background = softmax.new_zeros((at_label.shape[0], 1))
        at_label = torch.cat((background, at_label), dim=1).expand(samples, classes)
        everywhere = torch.cat((background, everywhere), dim=1).expand(samples, classes)
        index = labels.unsqueeze(1)
        own = at_label.gather(1, labels).unsqueeze(1)
        chosen = softmax.gather(1, index)
        mean = torch.bmm(everywhere.unsqueeze(1), softmax) + own * chosen
        weight = 1.0 / (samples * voxels)
        gradient = softmax * (everywhere.unsqueeze(2) - mean + weight)
        gradient.scatter_add_(1, index, chosen * own - weight)
        return gradient.mul_(outer), None, None
