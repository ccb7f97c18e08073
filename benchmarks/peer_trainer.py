"""nnU-Net v2's own trainer, made for a topology in numbers; needs nnunetv2. No file is read but a folder to log to."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from peer_network import RestatedStep
from peer_plans import dataset, plans
from torch import Tensor, nn

from nnbox.records.codec import encode
from nnbox.records.plan import ConfigurationPlan


class TrainerStep:
    """Its trainer; `take` is its ``train_step``.

    Attributes:
        words: what runs, for the table.
    """

    def __init__(self, plan: ConfigurationPlan, device: str, folder: Path, *, deep: bool, compiled: bool) -> None:
        for name in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{name}"] = str(folder / name)
        os.environ["nnUNet" + "_compile"] = str(compiled).lower()  # its own spelling, which is no constant's
        from importlib.metadata import version

        from nnunetv2.training.nnUNetTrainer import nnUNetTrainer

        nnUNetTrainer.infer_dataset_class = lambda _folder: None  # no data set is read here
        trainer = nnUNetTrainer.nnUNetTrainer(
            plans(encode(plan)), "3d_fullres", 0, dataset(plan.topology.classes), torch.device(device)
        )
        trainer.enable_deep_supervision = deep
        trainer.initialize()
        self.trainer, self.deep = trainer, deep
        self.words = f"nnU-Net v2 {version('nnunetv2')}'s trainer"

    @property
    def network(self) -> nn.Module:
        return getattr(self.trainer.network, "_orig_mod", self.trainer.network)

    def set_rate(self, rate: float) -> None:
        """Set the optimiser's rate, as its scheduler does at an epoch's start."""
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = rate

    def take(self, image: Tensor, labels: list[Tensor]) -> float:
        """Take a step; ``labels`` (sample, 1, *space) are on the host, one map per decoder level."""
        target = labels if self.deep else labels[0]
        return float(self.trainer.train_step({"data": image, "target": target})["loss"])


def peer_step(plan: ConfigurationPlan, device: str, folder: Path, *, compiled: bool) -> TrainerStep | RestatedStep:
    """Return the peer's step with deep supervision: its own trainer's where it is installed, else the restated one.

    What was compiled before is forgotten: a second plan would be compiled for any size, which took minutes on a card.
    """
    torch.compiler.reset()
    if importlib.util.find_spec("nnunetv2") is not None:
        return TrainerStep(plan, device, folder, deep=True, compiled=compiled)
    return RestatedStep(plan.topology, device, batch_dice=plan.batch_dice, deep=True, compiled=compiled)
