"""One configuration's networks, as validation and test prediction both use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.geometry import Placement
from nnbox.inference.export import separate_axis_back
from nnbox.inference.label_map import Part
from nnbox.inference.manner import Manner
from nnbox.inference.model import load_network
from nnbox.inference.passes import seen
from nnbox.inference.predict import open_mapped_window, open_window, predict_case
from nnbox.inference.sweep import Window
from nnbox.inference.volume import Volume
from nnbox.network.device import Device
from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.records.precision import Precision
from nnbox.rules.augmentation import mirror_axes


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A configuration with its loaded networks (one per fold).

    Attributes:
        plan: of the task.
        configuration: its part of the plan.
        window: how its networks see a volume.
    """

    plan: Plan
    configuration: ConfigurationPlan
    window: Window

    def at(self, manner: Manner) -> Member:
        """Return the same networks, asked in a manner; for a member that was loaded and not changed yet."""
        window = replace(self.window, effort=manner.effort(self.window.effort), halves=manner.halves)
        return replace(self, window=window)

    def seen_by(self, see: Callable[[], None]) -> Member:
        """Return the same networks, calling ``see`` after each of their answers; several threads may do so."""
        answers = tuple(seen(answer, see) for answer in self.window.answers)
        return replace(self, window=replace(self.window, answers=answers))

    def part(self, image: NDArray[np.float32], placement: Placement, previous: NDArray[np.integer] | None) -> Part:
        """Return the share of a prepared case in a label map; ``previous`` are first-stage labels on its grid."""
        axis = separate_axis_back(placement, self.configuration.resampling)
        return Part(self.window, self._volume(image, previous), axis)

    def predict(self, image: NDArray[np.float32], previous: NDArray[np.integer] | None) -> NDArray[np.float32]:
        """Return all class probabilities, float32 (classes, z, y, x), on the prepared grid."""
        return predict_case(self.window, self._volume(image, previous))

    def _volume(self, image: NDArray[np.float32], previous: NDArray[np.integer] | None) -> Volume:
        return Volume(image, previous, 0 if previous is None else len(self.plan.labels))


def mirrored(plan: Plan, configuration: ConfigurationPlan, *, mirroring: bool) -> tuple[int, ...]:
    """Return the patch axes of a configuration that are flipped."""
    return tuple(mirror_axes(plan, configuration.topology.dimension)) if mirroring else ()


def load_member(
    plan: Plan,
    configuration: ConfigurationPlan,
    weights: Mapping[int, Path],
    device: Device,
    *,
    mirroring: bool,
    precision: Precision = Precision.AUTO,
    keep_weights: bool = True,
) -> Member:
    """Load the networks of a configuration, in the order of their folds; or let each be mapped when it is asked.

    Raises:
        DataError: weights that do not belong to the plan, or are damaged.
        ResourceError: the device cannot compute in that precision.
    """
    axes = mirrored(plan, configuration, mirroring=mirroring)
    files, topology, patch_size = (
        [weights[fold] for fold in sorted(weights)],
        configuration.topology,
        configuration.patch_size,
    )
    if keep_weights:
        networks = [load_network(file, topology, device.name) for file in files]
        window = open_window(networks, patch_size, axes, device.name, precision)
    else:
        window = open_mapped_window(files, topology, patch_size, axes, precision)
    return Member(plan=plan, configuration=configuration, window=window)
