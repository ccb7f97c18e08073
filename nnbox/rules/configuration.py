"""From a design to a configuration of the plan: resampling, topology, augmentation in plane, kind of Dice."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nnbox.recipes import LabelResampling, Recipe
from nnbox.records.plan import ConfigurationPlan, Decision, Resampling, Topology
from nnbox.rules.argument import by
from nnbox.rules.augmentation import slicewise_axis
from nnbox.rules.loss import uses_batch_dice
from nnbox.rules.stage import Design, Stage

PREVIOUS_STAGE = "3d_lowres"
Configured = tuple[ConfigurationPlan, tuple[Decision, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a configuration needs besides its stage and design: the recipe, and whether there is a cascade."""

    recipe: Recipe
    cascade: bool


def configure_2d(stage: Stage, design: Design, setting: Setting) -> Configured:
    """Make the 2D configuration: slices along the first axis, resampled in plane only.

    Source: 2018 §2.1, release (in plane)
    """
    _, y_mm, x_mm = stage.spacing_mm
    batch_dice = _decide_dice(stage, setting)
    resampling = choose_resampling((None, y_mm, x_mm), setting.recipe)
    plan = ConfigurationPlan(
        name=stage.name,
        store="2d",
        previous=None,
        spacing_mm=(y_mm, x_mm),
        median_shape=stage.median_vox[1:],
        patch_size=design.patch_vox,
        batch_size=design.batch,
        num_pool_per_axis=design.pooling.per_axis,
        dummy_2d_augmentation=False,
        dummy_2d_axis=None,
        batch_dice=batch_dice.outcome,
        full_resolution=True,
        resampling=resampling,
        topology=_topology(stage, design, extra_channels=0),
    )
    return plan, (_decide_resampling(stage, resampling), *design.decisions, batch_dice)


def configure_3d(stage: Stage, design: Design, setting: Setting) -> Configured:
    """Make a 3D configuration at full or low resolution.

    Source: 2018 §2.1, 2019 §2.2
    """
    batch_dice = _decide_dice(stage, setting)
    slices = _decide_slices(stage, design, setting.recipe)
    resampling = choose_resampling(stage.spacing_mm, setting.recipe)
    plan = ConfigurationPlan(
        name=stage.name,
        store=stage.name,
        previous=None,
        spacing_mm=stage.spacing_mm,
        median_shape=stage.median_vox,
        patch_size=design.patch_vox,
        batch_size=design.batch,
        num_pool_per_axis=design.pooling.per_axis,
        dummy_2d_augmentation=slices.outcome is not None,
        dummy_2d_axis=slices.outcome,
        batch_dice=batch_dice.outcome,
        full_resolution=stage.name != PREVIOUS_STAGE,
        resampling=resampling,
        topology=_topology(stage, design, extra_channels=0),
    )
    return plan, (_decide_resampling(stage, resampling), *design.decisions, slices, batch_dice)


def configure_cascade(full: ConfigurationPlan, stage: Stage, setting: Setting) -> Configured:
    """Make the cascade's second stage: the full-resolution network with one more input channel per label.

    Source: 2018 §2.1, 2019 §2.2
    """
    named = replace(stage, name="3d_cascade")
    labels = stage.classes - 1
    batch_dice = _decide_dice(named, setting)
    channels = stage.channels + labels
    inputs = named.decide(
        "topology.input_channels",
        configure_cascade,
        "2018 §2.1",
        {"channels": stage.channels, "labels": labels},
        channels,
        f"Patch, batch and network are those of 3d_fullres; the {labels} labels that {PREVIOUS_STAGE} predicts are "
        f"further input channels, background left out: {stage.channels} + {labels} = {channels}.",
    )
    plan = replace(
        full,
        name=named.name,
        previous=PREVIOUS_STAGE,
        batch_dice=batch_dice.outcome,
        topology=replace(full.topology, input_channels=channels),
    )
    return plan, (inputs, batch_dice)


def choose_resampling(target: tuple[float | None, float, float], recipe: Recipe) -> Resampling:
    """Choose how cases get to the target spacing.

    Source: 2018 §2.2 (third order, labels nearest), 2019 §2.1 (coarse axis apart, each label linear)
    """
    linear = recipe.label_resampling is LabelResampling.LINEAR_PER_LABEL
    return Resampling(
        target_spacing_mm=target,
        separate_axis_threshold=recipe.separate_axis_threshold,
        label_order=1 if linear else 0,
    )


def _topology(stage: Stage, design: Design, *, extra_channels: int) -> Topology:
    axes = len(design.patch_vox)
    return Topology(
        dimension=axes,
        input_channels=stage.channels + extra_channels,
        classes=stage.classes,
        features=design.features,
        strides=((1,) * axes, *design.pooling.strides),
        kernels=design.kernels,
    )


def _decide_resampling(stage: Stage, resampling: Resampling) -> Decision:
    target, threshold = resampling.target_spacing_mm, resampling.separate_axis_threshold
    if target[0] is None:
        images = "in plane only, third-order spline"
    elif threshold is None:
        images = "third-order spline on all axes"
    else:
        images = (
            f"third-order spline, in plane with nearest neighbour along the coarse axis where the spacings differ by "
            f"more than a factor of {threshold:g}"
        )
    labels = "linear, each label by itself" if resampling.label_order else "nearest neighbour"
    return stage.decide(
        "resampling",
        choose_resampling,
        "2019 §2.1" if resampling.label_order else "2018 §2.2",
        {"target_spacing_mm": target},
        {"separate_axis_threshold": threshold, "label_order": resampling.label_order},
        f"Images: {images}. Labels: {labels}.",
    )


def _decide_dice(stage: Stage, setting: Setting) -> Decision:
    batch = uses_batch_dice(stage.name, cascade=setting.cascade)
    which = "the low-resolution stage" if setting.cascade else "3d_fullres"
    why = (
        f"not the 3D network that sees nearly the whole patient ({which}): the batch counts as one sample in the Dice"
        if batch
        else "the 3D network that sees nearly the whole patient: the Dice is taken per sample and averaged"
    )
    inputs = {"configuration": stage.name, "cascade": setting.cascade}
    return stage.decide("batch_dice", uses_batch_dice, "2018 §2.3", inputs, batch, f"{stage.name} is {why}.")


def _decide_slices(stage: Stage, design: Design, recipe: Recipe) -> Decision:
    axis = slicewise_axis(design.patch_vox, recipe)
    against = "its shortest edge" if recipe.slicewise_against_shortest else "its first axis"
    verdict = "more" if axis is not None else "not more"
    how = f"slice by slice along axis {axis}" if axis is not None else "in 3D"
    sentence = (
        f"The longest edge of the patch {by(design.patch_vox)} is {verdict} than {recipe.slicewise_ratio:g} times "
        f"{against}: augmented {how}."
    )
    inputs = {"patch_vox": design.patch_vox, "ratio": recipe.slicewise_ratio}
    source = "2018 §2.3" if recipe.slicewise_against_shortest else "2019 §2.2, release"
    return stage.decide("dummy_2d_axis", slicewise_axis, source, inputs, axis, sentence)
