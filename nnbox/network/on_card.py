"""The forward pass alone, for prediction on a GPU: the numbers of a network under autocast with less work around them.

What differs from `nnbox.network.unet.UNet.forward`: in 16 bits the convolutions' weights are narrowed once instead of
at every call, features lie side by side and are rounded up to a multiple of eight (`nnbox.network.widened`), and
normalisation and rectifier are one operation (`nnbox.network.normact`). In float32 none of that differs, and float32
means float32: cuDNN may not use TF32, as torch would let it. Tiles of one shape replay one recording of the pass.
Source: own (arithmetic); the network is that of 2018 §2.1.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from nnbox.network.precision import half_type
from nnbox.network.replayed import Replayed
from nnbox.network.trial import kernels_refused
from nnbox.network.unet import ConvBlock, UNet, choose_norm_kind
from nnbox.network.widened import Widening
from nnbox.records.engine import NormKind
from nnbox.records.precision import Precision


class CardForward:
    """A `UNet` on a GPU, ready to predict.

    Args:
        network: on ``device``; its weights are copied where they are narrowed.
        device: where it lies.
        precision: settled, see `nnbox.network.precision.choose_precision`.
    """

    def __init__(self, network: UNet, device: torch.device, precision: Precision) -> None:
        kind, layout = half_type(precision), torch.contiguous_format
        if kind is not None:
            layout = torch.channels_last_3d if network.topology.dimension == 3 else torch.channels_last
            network = _narrowed(network, kind).to(memory_format=layout)  # type: ignore[call-overload]
            runs = kernels_refused(str(device), precision) is None
            choose_norm_kind(network, NormKind.TRITON if runs else NormKind.TWIN)
            network.kernels = runs
        network.eval()
        self._replayed = Replayed(partial(_answer, network, kind, layout))

    def probabilities(self, batch: Tensor) -> Tensor:
        """Map (batch, channels, *patch) to class probabilities, float32 (batch, classes, *patch)."""
        return self._replayed(batch)


def _answer(network: UNet, kind: torch.dtype | None, layout: torch.memory_format, batch: Tensor) -> Tensor:
    # Algorithms are not tried out against each other: the same case would get other bits from one run to the next.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=kind is not None):
        logits = network(batch.to(kind or torch.float32, memory_format=layout))
    return torch.softmax(logits.float(), dim=1)


def _narrowed(network: UNet, kind: torch.dtype) -> UNet:
    """Return a widened copy whose convolutions have 16-bit weights; scales and shifts stay float32."""
    wide = Widening(network.topology).network(network.state_dict()).requires_grad_(requires_grad=False)
    for module in wide.modules():
        if isinstance(module, ConvBlock):
            module.conv.to(kind)
    wide.up.to(kind)
    wide.head.to(kind)
    return wide
