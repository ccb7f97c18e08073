"""How a network is trained: what was asked for, and what was settled for a device. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nnbox.errors import UsageError
from nnbox.records.precision import Precision


class NormKind(StrEnum):
    """How normalisation and rectifier are computed; the numbers are the same up to rounding."""

    PLAIN = "plain"
    """Torch's own operations, one after the other."""
    TWIN = "twin"
    """One operation made of torch calls."""
    TRITON = "triton"
    """One operation made of Triton kernels (CUDA, or Triton's interpreter)."""


class AugmentationPath(StrEnum):
    """Who augments (``--augmentation``): batchgenerators in worker processes, or torch on the training's device.

    ``auto`` is ``gpu`` on a GPU and ``cpu`` on a CPU. The drawn numbers are the same.
    """

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class SpeedUp(StrEnum):
    """What can be switched off (``--without``); with any of them off a step gives the same up to rounding."""

    FUSED_NORM = "fused-norm"
    """Normalisation and rectifier as one operation; by kernels the first convolution, too, and no bias before it."""
    FUSED_ADAM = "fused-adam"
    """The optimiser as one operation over all weights."""
    KERNELS = "kernels"
    """Joining skip connections, the loss, reading moved patches and mirroring by Triton kernels."""
    CHANNELS_LAST = "channels-last"
    """The features of a voxel side by side in memory."""
    WIDE = "wide"
    """Features rounded up to a multiple of eight, the added ones 0, for 16-bit convolutions on a GPU."""
    GRAPHS = "graphs"
    """A step recorded once as a CUDA graph and replayed."""
    RESIDENT = "resident"
    """Prepared cases kept in memory instead of mapped files."""


class Residence(StrEnum):
    """Where prepared cases lie during a training."""

    DEVICE = "device"
    HOST = "host"
    MAPPED = "mapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineWishes:
    """What was asked for; ``auto`` is settled for the device at hand.

    Attributes:
        precision: of convolutions.
        augmentation: who augments.
        without: what is switched off, in the order of `SpeedUp`.
    """

    precision: Precision = Precision.AUTO
    augmentation: AugmentationPath = AugmentationPath.AUTO
    without: tuple[SpeedUp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What was settled for one training.

    Attributes:
        device: as torch spells it.
        precision: of convolutions; never ``auto``.
        norm: how normalisation and rectifier are computed.
        channels_last: memory order of feature maps.
        wide: features are rounded up.
        fused_adam: the optimiser is one operation.
        kernels: skip connections are joined, the loss computed, patches read and mirrored by Triton kernels.
        graphs: the step is recorded and replayed.
        augmentation: who augments; never ``auto``.
        residence: where prepared cases lie.
        reasons: for each choice, in words.
    """

    device: str
    precision: Precision
    norm: NormKind
    channels_last: bool
    wide: bool
    fused_adam: bool
    kernels: bool
    graphs: bool
    augmentation: AugmentationPath
    residence: Residence
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The choices with their reasons, as one sentence."""
        return f"engine on {self.device}: {'; '.join(self.reasons)}"


def options(wishes: EngineWishes) -> str:
    """Return the options of a command line that ask for this."""
    without = f" --without {','.join(wishes.without)}" if wishes.without else ""
    return f"--precision {wishes.precision} --augmentation {wishes.augmentation}{without}"


def parse_augmentation(word: str) -> AugmentationPath:
    """Return the path of ``--augmentation``.

    Raises:
        UsageError: no such path.
    """
    try:
        return AugmentationPath(word)
    except ValueError:
        names = ", ".join(item.value for item in AugmentationPath)
        raise UsageError(f"--augmentation {word}: expected one of {names}") from None


def parse_without(words: Sequence[str]) -> tuple[SpeedUp, ...]:
    """Return the speed-ups of ``--without``, each once; ``all`` stands for every one of them.

    Raises:
        UsageError: no such speed-up.
    """
    known = [item.value for item in SpeedUp]
    unknown = [word for word in words if word not in {*known, "all"}]
    if unknown:
        raise UsageError(f"--without {','.join(unknown)}: expected all, or some of {', '.join(known)}")
    return tuple(item for item in SpeedUp if "all" in words or item.value in words)
