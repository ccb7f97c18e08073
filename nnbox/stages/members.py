"""Predicting one case with one configuration's networks, as validation and test prediction both do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.inference.model import load_network
from nnbox.inference.predict import predict_case, with_previous
from nnbox.network.device import Device
from nnbox.network.unet import UNet
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.rules.augmentation import mirror_axes


@dataclass(frozen=True, slots=True)
class Member:
    """A configuration with its loaded networks (one per fold).

    Attributes:
        plan: of the task.
        configuration: its part of the plan.
        networks: on ``device``, ready to predict.
        device: where they lie.
        mirroring: average mirrored passes.
    """

    plan: Plan
    configuration: ConfigurationPlan
    networks: tuple[UNet, ...]
    device: Device
    mirroring: bool

    def predict(self, image: NDArray[np.float32], previous: NDArray[np.integer] | None) -> NDArray[np.float32]:
        """Return float32 (classes, z, y, x) on the prepared grid; ``previous`` are first-stage labels on that grid."""
        if previous is not None:
            image = with_previous(image, previous, len(self.plan.labels))
        return predict_case(
            self.networks,
            image,
            patch_size=self.configuration.patch_size,
            dimension=self.configuration.topology.dimension,
            mirror_axes=mirror_axes(self.plan, self.configuration.topology.dimension) if self.mirroring else (),
            device=self.device.name,
        )


def load_member(
    plan: Plan, configuration: ConfigurationPlan, weights: Mapping[int, Path], device: Device, *, mirroring: bool
) -> Member:
    """Load the networks of a configuration, in the order of their folds."""
    networks = tuple(load_network(weights[fold], configuration.topology, device.name) for fold in sorted(weights))
    return Member(plan=plan, configuration=configuration, networks=networks, device=device, mirroring=mirroring)
