"""nnU-Net v2's own trainer, made for a topology in numbers; needs nnunetv2. No file is read but a folder to log to."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

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
            plans(plan), "3d_fullres", 0, dataset(plan.topology.classes), torch.device(device)
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


def dataset(classes: int) -> dict[str, object]:
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, classes)}}
    return {"channel_names": {"0": "image"}, "labels": labels, "numTraining": 4, "file_ending": ".nii.gz"}


def plans(plan: ConfigurationPlan) -> dict[str, object]:
    """Return its plans for our topology: two convolutions a level on both sides, as its default planner gives."""
    topology = plan.topology
    levels = len(topology.features)
    network = {
        "n_stages": levels,
        "features_per_stage": list(topology.features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [list(kernel) for kernel in topology.kernels],
        "strides": [list(stride) for stride in topology.strides],
        "n_conv_per_stage": [2] * levels,
        "n_conv_per_stage_decoder": [2] * (levels - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    own = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": plan.batch_size,
        "patch_size": list(plan.patch_size),
        "batch_dice": plan.batch_dice,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": network,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }
    return {
        "dataset_name": "Dataset004_Made",
        "plans_name": "nnUNetPlans",
        "label_manager": "LabelManager",
        "configurations": {"3d_fullres": own},
        "continue_training": False,
    }
