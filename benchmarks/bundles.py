"""A model bundle with random weights, for what a measurement needs of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nnbox.records.plan import ConfigurationPlan, Plan


def write_random_bundle(work: Path, plan: Plan, configuration: ConfigurationPlan) -> dict[str, np.ndarray]:
    """Write a bundle of one network with random weights into ``work/model``; return the weights."""
    from safetensors.torch import save_file

    from nnbox.network.unet import build_network
    from nnbox.records.results import Selection
    from nnbox.submission.bundle import write_bundle

    selection = Selection(
        task=plan.task,
        candidate=configuration.name,
        members=(configuration.name,),
        folds={configuration.name: (0,)},
        partial=True,
        mean_dice=None,
        mean_dice_per_label=(None,) * len(plan.labels),
        reason="random weights",
        postprocessing=(),
        trials=(),
    )
    state = build_network(configuration.topology, seed=5).state_dict()
    save_file(state, work / "weights.safetensors")
    plan = replace(plan, trainable=True, why_not_trainable=None)
    write_bundle(work / "model", plan, selection, {(configuration.name, 0): work / "weights.safetensors"})
    return {name: tensor.numpy() for name, tensor in state.items()}
