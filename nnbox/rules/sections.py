"""The part of a methods section that follows from the data: the images, preprocessing, and the networks, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import ConfigurationPlan, Decision, Normalization, NormalizationScheme, Plan
from nnbox.rules.argument import by, listed
from nnbox.rules.resampling import new_shape
from nnbox.rules.spacing import target_spacing_2021

Decisions = Mapping[str, Decision]
NAMES = {
    "2d": "2D network",
    "3d_fullres": "3D network at full resolution",
    "3d_lowres": "first stage of the cascade, a 3D network at low resolution",
    "3d_cascade": "second stage of the cascade, at full resolution",
}


def describe_data(plan: Plan, fingerprint: Fingerprint) -> str:
    """Describe the training cases: number, channels, structures, sizes and spacings.

    Source: own (the words)
    """
    first = 0 if plan.dimension == 3 else 1
    axes = "z, y, x" if plan.dimension == 3 else "y, x"
    shapes = [case.shape_vox[first:] for case in fingerprint.cases]
    spacings = [case.spacing_mm[first:] for case in fingerprint.cases]
    count = len(fingerprint.cases)
    channels = [channel.name for channel in plan.channels]
    structures = [label.name for label in plan.labels]
    return (
        f"{plan.task} has {count} labelled training case{'' if count == 1 else 's'}: {plan.dimension}D images with the "
        f"channel{'' if len(channels) == 1 else 's'} {joined(channels)} and the "
        f"structure{'' if len(structures) == 1 else 's'} {joined(structures)}. Cropped to what is not zero, they "
        f"measure {_ranges(shapes)} voxels ({axes}) at spacings of {_ranges(spacings)} mm. All numbers below follow "
        f"from these data by the fixed rules of nnU-Net in its {plan.recipe} version; brackets name the rule behind a "
        "number and the source of the rule."
    )


def describe_preprocessing(plan: Plan, decisions: Decisions) -> str:
    """Describe cropping, target spacing, resampling and normalisation.

    Source: own (the words); 2018 §2.2, 2019 §2.1
    """
    order = joined(["zyx"[axis] for axis in plan.axis_order])
    sentences = ["Every case was cropped to the bounding box of its non-zero voxels [nonzero_box; 2018 §2.2, release]."]
    if plan.dimension == 3:
        sentences.append(
            f"The axis of the largest median spacing comes first, so that axes are given in the order {order} "
            f"{reference(decisions['axis_order'])}."
        )
    sentences.append(_resolution(plan, decisions))
    sentences.append(_interpolation(plan, decisions))
    return " ".join((*sentences, *_intensities(plan, decisions)))


def describe_networks(plan: Plan, decisions: Decisions) -> str:
    """Describe what the networks have in common, the memory they were planned for, and why there is (no) cascade.

    Source: own (the words); 2018 §2.1, 2019 §2.2
    """
    sentences = [
        "All networks are U-Nets with two blocks per level, each a padded convolution, instance normalisation and a "
        "leaky ReLU of slope 0.01, joined by strided convolutions on the way down and "
        "transposed convolutions on the way up [build_network; 2018 §2.1, release].",
        cited(decisions["planning_memory_gb"]),
    ]
    sentences.extend(cited(decisions[name]) for name in ("cascade.needed", "cascade.kept") if name in decisions)
    return " ".join(sentences)


def describe_configuration(item: ConfigurationPlan, plan: Plan, decisions: Decisions) -> str:
    """Describe one configuration: resolution, patch, batch, topology, augmentation in plane, kind of Dice.

    Source: own (the words); 2018 §2.1, 2019 §2.2
    """
    dice = reference(decisions[f"{item.name}.batch_dice"])
    kind = "over the batch as a whole" if item.batch_dice else "for each sample and averaged"
    closing = f"The Dice term of its loss is taken {kind} {dice}."
    if item.previous is not None:
        inputs = decisions[f"{item.name}.topology.input_channels"]
        return (
            f"It is the 3D network at full resolution with {item.topology.input_channels} input channels: those of the "
            f"image, and one for each structure that the first stage predicts {reference(inputs)}. {closing}"
        )
    sentences = [_resolution_of(item, decisions), _patch(item, plan, decisions), _batch(item, decisions)]
    sentences.extend((_topology(item, decisions), closing))
    if f"{item.name}.dummy_2d_axis" in decisions:
        slices = decisions[f"{item.name}.dummy_2d_axis"]
        axis = item.dummy_2d_axis
        how = "in 3D" if axis is None else f"slice by slice along the {('first', 'second', 'third')[axis]} axis"
        sentences.append(f"Patches were augmented {how} {reference(slices)}.")
    return " ".join(sentences)


def reference(decision: Decision) -> str:
    """Write the rule and the source of a decision in brackets.

    Source: own
    """
    return f"[{decision.rule}; {decision.source}]"


def cited(decision: Decision) -> str:
    """Write a decision's sentence with its rule and source.

    Source: own
    """
    return f"{decision.sentence.removesuffix('.')} {reference(decision)}."


def joined(words: Sequence[str]) -> str:
    """Write ``a``, ``a and b``, ``a, b and c``.

    Source: own
    """
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def by_spacing(spacing_mm: Sequence[float]) -> str:
    """Write spacings as ``3.27 x 0.98 x 0.98``.

    Source: own
    """
    return " x ".join(listed([spacing]) for spacing in spacing_mm)


def _ranges(rows: Sequence[Sequence[float]]) -> str:
    """Write the range of each axis: ``11–24 x 256–383 x 256``."""
    ends = [(listed([min(axis)]), listed([max(axis)])) for axis in zip(*rows, strict=True)]
    return " x ".join(low if low == high else f"{low}–{high}" for low, high in ends)


def _resolution(plan: Plan, decisions: Decisions) -> str:
    spacing, shape = decisions["spacing_mm"], decisions["median_shape"]
    first = 3 - plan.dimension
    how = "the median over the training cases"
    if spacing.rule == target_spacing_2021.__name__:
        how += ", along the first axis the 10th percentile"
    return (
        f"Images were resampled to {by_spacing(spacing.outcome[first:])} mm, {how} {reference(spacing)}, where the "
        f"median case has {by(shape.outcome[first:])} voxels {reference(shape)}."
    )


def _interpolation(plan: Plan, decisions: Decisions) -> str:
    """Say how images and labels are interpolated; new sizes are rounded."""
    item = plan.configurations[-1]
    source, resampling = reference(decisions[f"{_own(plan, item)}.resampling"]), item.resampling
    images = "Images were interpolated by third-order splines"
    if plan.dimension == 3 and resampling.separate_axis_threshold is not None:
        images += (
            f", and where the spacings of a case (or else of the target) differ by more than a factor of "
            f"{resampling.separate_axis_threshold:g}, by splines in plane and by nearest neighbour along the coarse "
            "axis"
        )
    labels = "linearly, each label by itself" if resampling.label_order else "by nearest neighbour"
    text = f"{images}; label maps {labels} {source}, sizes rounded [{new_shape.__name__}; 2018 §2.2]."
    return text if plan.dimension == 2 else f"{text} For the 2D network cases were resampled in plane only (release)."


def _own(plan: Plan, item: ConfigurationPlan) -> str:
    """Return the configuration whose decisions hold for this one: a second stage shares those of its store."""
    return item.store if item.previous is not None else item.name


def _intensities(plan: Plan, decisions: Decisions) -> list[str]:
    sentences, per_case = [], []
    for channel, rule in zip(plan.channels, plan.normalizations, strict=True):
        if rule.scheme is NormalizationScheme.CT:
            sentences.append(f"{_ct(channel.name, rule)} {_scheme(decisions, channel.name)}.")
        else:
            per_case.append(channel.name)
    if per_case:
        word = "Channel" if len(per_case) == 1 else "Channels"
        verb = "was" if len(per_case) == 1 else "were each"
        sentences.append(
            f"{word} {joined(per_case)} {verb} normalised to mean 0 and standard deviation 1 in every case "
            f"{_scheme(decisions, per_case[0])}."
        )
    masks = {channel.name: decisions[f"normalization.{channel.name}.use_nonzero_mask"] for channel in plan.channels}
    covered = [name for name, decision in masks.items() if not decision.inputs["exempt"]]
    if covered:
        sentences.append(_mask(covered, masks))
    if exempt := [name for name in masks if name not in covered]:
        sentences.append(f"The mask rule does not cover {joined(exempt)} {reference(masks[exempt[0]])}.")
    return sentences


def _scheme(decisions: Decisions, channel: str) -> str:
    return reference(decisions[f"normalization.{channel}.scheme"])


def _ct(name: str, rule: Normalization) -> str:
    if rule.mean is None or rule.sd is None or rule.lower is None or rule.upper is None:
        return (
            f"Channel {name} is clipped to the 0.5 and 99.5 percentiles of the foreground of the training set, then "
            "reduced by its mean and divided by its standard deviation, which are not known from geometry alone"
        )
    return (
        f"Channel {name} was clipped to [{rule.lower:g}, {rule.upper:g}], the 0.5 and 99.5 percentiles of the "
        f"foreground of the training set, then reduced by its mean, {rule.mean:g}, and divided by its standard "
        f"deviation, {rule.sd:g}"
    )


def _mask(names: Sequence[str], masks: Decisions) -> str:
    decision = masks[names[0]]
    ratio, limit = float(decision.inputs["crop_ratio"]), float(decision.inputs["limit"])
    bound = "at most" if decision.inputs["inclusive"] else "below"
    verdict = "taken over the whole crop"
    if decision.outcome:
        verdict = "taken inside the mask of non-zero voxels, and everything outside was set to 0"
    where = f" of {joined(names)}" if len(names) < len(masks) else ""
    return (
        f"Cropping kept {100 * ratio:.1f} % of the voxels ({decision.inputs['statistic']} over the cases) and the mask "
        f"rule asks for {bound} {100 * limit:g} %, so the statistics{where} were {verdict} {reference(decision)}."
    )


def _resolution_of(item: ConfigurationPlan, decisions: Decisions) -> str:
    text = f"It works at {by_spacing(item.spacing_mm)} mm, where the median case has {by(item.median_shape)} voxels"
    coarser = decisions.get(f"{item.name}.spacing_mm")
    if coarser is not None:
        limit = float(coarser.inputs["limit_voxels"])
        text += f", the first step at which it holds at most {limit:,.0f} {reference(coarser)}"
    return f"{text}."


def _patch(item: ConfigurationPlan, plan: Plan, decisions: Decisions) -> str:
    decision = decisions[f"{item.name}.patch_size"]
    start, patch = by(decision.inputs["start_vox"]), by(item.patch_size)
    unit = "voxels" if plan.recipe == "2018" else "values in the memory estimate"
    size = f"its {float(decision.inputs['cost']):,.0f} {unit}"
    if decision.rule.startswith("shrink"):
        how = f"reduced from {start} until {size} fit the budget"
    elif item.patch_size == item.median_shape:
        how = f"as many as the median case; {size} fit the budget"
    else:
        how = f"{start} brought to sizes that its poolings divide; {size} fit the budget"
    return f"A patch has {patch} voxels, {how} {reference(decision)}."


def _batch(item: ConfigurationPlan, decisions: Decisions) -> str:
    patch, batch = decisions[f"{item.name}.patch_size"].inputs, decisions[f"{item.name}.batch_size"]
    held, limit = batch.inputs["budget_batch"], batch.inputs["limit_batch"]
    floor = "; no batch is smaller than 2" if item.batch_size > min(held, limit) else ""
    return (
        f"The batch size is {item.batch_size}: the budget, {patch['budget_patches']} x {float(patch['budget']):,.0f}, "
        f"holds {held}, and 5 % of the voxels of all training cases are {_patches(limit)}{floor} {reference(batch)}."
    )


def _patches(count: int) -> str:
    return f"{count} patch{'' if count == 1 else 'es'}"


def _topology(item: ConfigurationPlan, decisions: Decisions) -> str:
    pools, features, kernels = (
        reference(decisions[f"{item.name}.{subject}"])
        for subject in ("num_pool_per_axis", "topology.features", "topology.kernels")
    )
    count = item.num_pool_per_axis
    times = f"{count[0]} times each" if len(set(count)) == 1 else f"{joined([str(number) for number in count])} times"
    bottleneck = [size // 2**number for size, number in zip(item.patch_size, count, strict=True)]
    return (
        f"Its axes are pooled {times} {pools}, down to {by(bottleneck)} voxels; its levels have "
        f"{'/'.join(str(number) for number in item.topology.features)} features {features} and "
        f"{_kernels(item.topology.kernels)} {kernels}."
    )


def _kernels(kernels: Sequence[Sequence[int]]) -> str:
    """Write the kernels from full resolution down, equal neighbours once."""
    runs = [(by(kernel), len(list(same))) for kernel, same in groupby(kernels)]
    if len(runs) == 1:
        return f"kernels of {runs[0][0]}"
    levels = [f"{size} on {'one level' if count == 1 else f'{count} levels'}" for size, count in runs]
    return f"kernels of {', then '.join(levels)}"
