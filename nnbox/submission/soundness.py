"""Whether a plan and a selection that came from elsewhere make sense together: sizes bounded, parts fitting."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator

from nnbox.network.counting import parameter_count
from nnbox.recipes import RECIPES
from nnbox.records.plan import ConfigurationPlan, NormalizationScheme, Plan, Topology
from nnbox.records.results import Selection

CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade")
_MAX_LEVELS = 12
_MAX_FEATURES = 4096
_MAX_PARAMETERS = 2**31
_MAX_PATCH_VOXELS = 2**27
_MAX_LABELS = 65535
_SPACING_MM = (1e-6, 1e4)
_AXES = {"z", "y", "x"}
_TASK = re.compile(r"[\w+-][\w.+-]{0,119}")
_MAX_LABEL_VALUE = 2**32 - 1
_MAX_CHANNELS = 1024
_STRIDES = {1, 2, 3, 4}
_KERNELS = {1, 3, 5, 7}


def defects(plan: Plan, selection: Selection, weights: Collection[tuple[str, int]]) -> tuple[str, ...]:
    """Return what is wrong with a model in words; empty when it can be used.

    A plan decides how much memory a prediction takes and which axes are moved, so one made by a stranger is bounded
    before it is followed.

    Args:
        plan: of the model.
        selection: of the model.
        weights: (configuration, fold) of the weights at hand.
    """
    return (*_plan_defects(plan), *_selection_defects(plan, selection), *_missing_weights(plan, selection, weights))


def _plan_defects(plan: Plan) -> Iterator[str]:
    values = [label.value for label in plan.labels]
    if not _TASK.fullmatch(plan.task):
        yield f"the task name {plan.task[:60]!r} cannot name a file"
    if plan.recipe not in RECIPES:
        yield f"the recipe {plan.recipe[:60]!r} is not known: this version has {', '.join(RECIPES)}"
    if unknown := set(plan.choices.mirror_axes or ()) - _AXES:
        yield f"the mirror axis {min(unknown)[:20]!r} is none of z, y, x"
    if len(values) > _MAX_LABELS:
        yield f"it has {len(values):,} labels, at most {_MAX_LABELS:,} can be told apart"
    if sorted(plan.axis_order) != [0, 1, 2] or plan.dimension not in {2, 3}:
        yield f"the axis order {plan.axis_order} of {plan.dimension}D images is impossible"
    if not values or values != sorted(set(values)) or values[0] < 1 or values[-1] > _MAX_LABEL_VALUE:
        yield "the label values are not ascending positive numbers"
    if not 1 <= len(plan.channels) <= _MAX_CHANNELS or len(plan.normalizations) != len(plan.channels):
        yield f"{len(plan.channels)} channels have {len(plan.normalizations)} normalizations"
    for normalization in plan.normalizations:
        numbers = (normalization.mean, normalization.sd, normalization.lower, normalization.upper)
        if normalization.scheme is NormalizationScheme.CT and not _is_usable(numbers):
            yield f"the statistics {numbers} of a CT channel cannot be used"
    names = [configuration.name for configuration in plan.configurations]
    if len(set(names)) != len(names) or not set(names) <= set(CONFIGURATIONS):
        yield f"the configurations {names} are not known"
    for configuration in plan.configurations:
        for defect in _configuration_defects(plan, configuration):
            yield f"{configuration.name}: {defect}"


def _configuration_defects(plan: Plan, configuration: ConfigurationPlan) -> Iterator[str]:
    topology, patch, labels = configuration.topology, configuration.patch_size, len(plan.labels)
    if found := tuple(_topology_defects(topology)):
        yield from found
        return
    if topology.classes != labels + 1:
        yield f"{topology.classes} classes do not fit {labels} labels"
    if topology.input_channels != len(plan.channels) + (labels if configuration.previous else 0):
        yield f"{topology.input_channels} input channels do not fit {len(plan.channels)} channels"
    first_stages = {other.name for other in plan.configurations if other.previous is None}
    if configuration.previous is not None and configuration.previous not in first_stages - {configuration.name}:
        yield f"its previous stage {configuration.previous!r} is no first stage of the plan"
    if len(patch) != topology.dimension or min(patch, default=0) < 1 or math.prod(patch) > _MAX_PATCH_VOXELS:
        yield f"the patch {patch} is impossible"
    elif any(
        size % math.prod(strides) for size, strides in zip(patch, zip(*topology.strides, strict=True), strict=True)
    ):
        yield f"the patch {patch} cannot be pooled as planned"
    targets = configuration.resampling.target_spacing_mm
    if not all(target is None or _SPACING_MM[0] <= target <= _SPACING_MM[1] for target in targets):
        yield f"the target spacing {targets} mm is impossible"
    if configuration.resampling.label_order not in {0, 1}:
        yield f"label maps cannot be resampled in order {configuration.resampling.label_order}"


def _is_usable(numbers: tuple[float | None, ...]) -> bool:
    mean, sd, lower, upper = numbers
    return mean is not None and sd is not None and sd > 0 and lower is not None and upper is not None and lower <= upper


def _topology_defects(topology: Topology) -> Iterator[str]:
    levels = len(topology.features)
    if not 1 <= levels <= _MAX_LEVELS or {len(topology.strides), len(topology.kernels)} != {levels}:
        yield f"a network of {levels} levels, {len(topology.strides)} strides and {len(topology.kernels)} kernels"
        return
    if topology.dimension not in {2, 3} or not all(1 <= count <= _MAX_FEATURES for count in topology.features):
        yield f"a {topology.dimension}D network of {topology.features} features is impossible"
        return
    for what, found, allowed in (("stride", topology.strides, _STRIDES), ("kernel", topology.kernels, _KERNELS)):
        if any(len(sizes) != topology.dimension or not set(sizes) <= allowed for sizes in found):
            yield f"a {what} in {found[:_MAX_LEVELS]} is impossible"
            return
    if (count := parameter_count(topology)) > _MAX_PARAMETERS:
        yield f"a network of {count:,} parameters; at most {_MAX_PARAMETERS:,} are followed"


def _selection_defects(plan: Plan, selection: Selection) -> Iterator[str]:
    names = {configuration.name for configuration in plan.configurations}
    if selection.task != plan.task:
        yield f"the selection is for {selection.task!r}, the plan for {plan.task!r}"
    if not selection.members or len(set(selection.members)) != len(selection.members):
        yield f"the selected members {selection.members} are no candidate"
    if missing := sorted(set(selection.members) - names):
        yield f"the selected {missing[0]!r} is not in the plan"
    for name, folds in selection.folds.items():
        if len(set(folds)) != len(folds) or min(folds, default=0) < 0:
            yield f"the folds of {name[:60]} are {folds[:8]}, and some are there twice or impossible"
    if len(set(selection.postprocessing)) != len(selection.postprocessing):
        yield f"{len(selection.postprocessing)} steps of post-processing, and some are there twice"
    for step in selection.postprocessing:
        if not 0 <= step.label <= len(plan.labels):
            yield f"post-processing names label {step.label} of {len(plan.labels)}"


def _missing_weights(plan: Plan, selection: Selection, weights: Collection[tuple[str, int]]) -> Iterator[str]:
    previous = {configuration.name: configuration.previous for configuration in plan.configurations}
    needed = {name for member in selection.members for name in (member, previous.get(member)) if name}
    for name in sorted(needed):
        folds = selection.folds.get(name, ())
        if not folds:
            yield f"no fold of {name} is selected"
        for fold in folds:
            if (name, fold) not in weights:
                yield f"the weights of {name}, fold {fold}, are missing"
