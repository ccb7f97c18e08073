"""A configuration of ours in the other tool's words. Needs nothing: it is read by either tool's Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RESAMPLE = {
    "data": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
    "seg": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
    "probabilities": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
}


def dataset(classes: int) -> dict[str, Any]:
    """Return its description of a data set of one channel that is no CT."""
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, classes)}}
    return {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 4, "file_ending": ".nii.gz"}


def plans(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return its plans for one of our configurations.

    Args:
        description: a `ConfigurationPlan` as it lies in a file.
    """
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": description["batch_size"],
        "patch_size": description["patch_size"],
        "median_image_size_in_voxels": description["median_shape"],
        "spacing": description["spacing_mm"],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": description["batch_dice"],
        "architecture": _architecture(description["topology"]),
    }
    for what, options in _RESAMPLE.items():
        configuration[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        configuration[f"resampling_fn_{what}_kwargs"] = options
    return {
        "dataset_name": "Dataset004_Hippocampus",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {"3d_fullres": configuration},
        "continue_training": False,
    }


def _architecture(topology: Mapping[str, Any]) -> dict[str, Any]:
    """Return its network of our features and strides: two convolutions a level, as its default planner gives."""
    levels = len(topology["features"])
    network = {
        "n_stages": levels,
        "features_per_stage": topology["features"],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": topology["kernels"],
        "strides": topology["strides"],
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
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": network,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
