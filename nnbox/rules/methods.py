"""A plan in words: the argument for every value, and a methods paragraph for a paper."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby

from nnbox.records.codec import encode
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import ConfigurationPlan, Decision, Plan
from nnbox.rules.argument import by, listed
from nnbox.rules.paragraph import describe_inference, describe_recipe

WIDTH = 110
_FIELDS = ("median_shape", "spacing_mm", "patch_size", "batch_size", "num_pool_per_axis", "dummy_2d_augmentation")
_LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "§": r"\S",
    "³": r"$^3$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "–": "--",
}
_SOURCES = (
    "2018 is arXiv:1809.10486, 2019 is arXiv:1904.08128, release is the first public nnU-Net (2021: its later "
    "version), RULES.md the reading of 2018 that reproduces its Table 1, own a choice of nnbox."
)


def plan_argument(plan: Plan) -> str:
    """Write the plan as an argument for a terminal: every value with its rule, its source and the numbers it saw.

    Values of the whole task come first, then those of each configuration in the order of training.

    Source: own
    """
    names = [configuration.name for configuration in plan.configurations]
    groups: dict[str, list[Decision]] = {}
    for decision in plan.decisions:
        head = decision.subject.split(".")[0]
        # What was decided about a low resolution that was dropped again stands with the values of the whole task.
        groups.setdefault(head if head in names else "", []).append(decision)
    head = f"{plan.task}: planned by the {plan.recipe} rules for {plan.planning_memory_gb:g} GB, {plan.dimension}D"
    lines = [head, f"Training: {plan.why_not_trainable or 'possible'}", "", "The data"]
    lines.extend(line for decision in groups.get("", []) for line in _argument(decision))
    for configuration in plan.configurations:
        lines.extend(("", configuration.name))
        lines.extend(f"  {field} = {_value(getattr(configuration, field))}" for field in _FIELDS)
        lines.extend(line for decision in groups.get(configuration.name, []) for line in _argument(decision))
    return "\n".join(("\n".join(lines), "", *_wrapped(f"Sources: {_SOURCES}", ""))) + "\n"


def methods_text(plan: Plan, fingerprint: Fingerprint, *, latex: bool) -> str:
    """Write a methods section for a paper, each number with the rule it follows from.

    Args:
        plan: of the task.
        fingerprint: the plan was made from.
        latex: escape for LaTeX, with paragraph headings.

    Source: own (the words); every rule is cited in the text
    """
    decisions = {decision.subject: decision for decision in plan.decisions}
    parts = [
        ("Data", _describe_data(plan, fingerprint)),
        ("Preprocessing", _describe_preprocessing(plan, decisions)),
        ("Networks", _describe_networks(plan, decisions)),
    ]
    if plan.recipe in {"2018", "2019"}:
        parts.append(("Training", describe_recipe(plan)))
        parts.append(("Inference and selection", describe_inference(plan, len(fingerprint.cases))))
    elif plan.why_not_trainable:
        parts.append(("Limits", f"These numbers are a plan only: {plan.why_not_trainable}."))
    parts.append(("References", _SOURCES))
    if latex:
        return "\n\n".join(f"\\paragraph{{{title}.}} {_escape(text)}" for title, text in parts) + "\n"
    return "\n\n".join("\n".join(_wrapped(f"{title}. {text}", "")) for title, text in parts) + "\n"


def _describe_data(plan: Plan, fingerprint: Fingerprint) -> str:
    spacings = list(zip(*(case.spacing_mm for case in fingerprint.cases), strict=True))
    shapes = list(zip(*(case.shape_vox for case in fingerprint.cases), strict=True))
    channels = ", ".join(channel.name for channel in plan.channels)
    labels = ", ".join(label.name for label in plan.labels)
    return (
        f"{plan.task} has {len(fingerprint.cases)} labelled training cases ({plan.dimension}D; input: {channels}; "
        f"structures: {labels}). Cropped sizes range from {by([min(axis) for axis in shapes])} to "
        f"{by([max(axis) for axis in shapes])} voxels (z, y, x) and spacings from "
        f"{by_spacing([min(axis) for axis in spacings])} to {by_spacing([max(axis) for axis in spacings])} mm. All "
        f"settings below follow from these data by the fixed rules of nnU-Net in its {plan.recipe} version; the rule "
        f"and its source stand behind each number."
    )


def _describe_preprocessing(plan: Plan, decisions: Mapping[str, Decision]) -> str:
    sentences = [
        "Every case was cropped to the bounding box of its non-zero voxels (2018 §2.2), holes filled (release).",
        *(_cited(decisions[subject]) for subject in ("axis_order", "spacing_mm", "median_shape")),
        *(_cited(decisions[f"{item.name}.resampling"]) for item in plan.configurations if item.previous is None),
        *(_cited(decision) for subject, decision in decisions.items() if subject.startswith("normalization.")),
    ]
    return " ".join(dict.fromkeys(sentences))


def _describe_networks(plan: Plan, decisions: Mapping[str, Decision]) -> str:
    opening = (
        "All networks are U-Nets with two convolutions per level, each followed by instance normalisation and a leaky "
        "ReLU of slope 0.01 (2018 §2.1); strided convolutions down, transposed convolutions up (release)."
    )
    considered = [
        decisions[name] for name in ("planning_memory_gb", "cascade.needed", "cascade.kept") if name in decisions
    ]
    sentences = [opening, *(_cited(decision) for decision in considered)]
    sentences.extend(_describe_configuration(item, decisions) for item in plan.configurations)
    return " ".join(sentences)


def _describe_configuration(item: ConfigurationPlan, decisions: Mapping[str, Decision]) -> str:
    def cite(subject: str, text: str) -> str | None:
        decision = decisions.get(f"{item.name}.{subject}")
        return f"{text} {_reference(decision)}" if decision else None

    augmented = f"slice by slice along axis {item.dummy_2d_axis}" if item.dummy_2d_augmentation else "in 3D"
    parts = [
        cite("spacing_mm", "spacing coarsened step by step"),
        cite("patch_size", f"patch {by(item.patch_size)} voxels"),
        cite("batch_size", f"batch size {item.batch_size}"),
        cite("num_pool_per_axis", f"{_slashed(item.num_pool_per_axis)} poolings per axis"),
        cite("topology.features", f"{_slashed(item.topology.features)} features"),
        cite("topology.kernels", f"kernels {_describe_kernels(item.topology.kernels)}"),
        cite("topology.input_channels", f"as 3d_fullres, with {item.topology.input_channels} input channels"),
        cite("dummy_2d_axis", f"augmented {augmented}"),
        cite("batch_dice", f"Dice over {'the batch as a whole' if item.batch_dice else 'each sample'}"),
    ]
    return (
        f"Configuration {item.name} at {by_spacing(item.spacing_mm)} mm (median shape {by(item.median_shape)} voxels): "
        f"{', '.join(part for part in parts if part)}."
    )


def _describe_kernels(kernels: Sequence[Sequence[int]]) -> str:
    """Write the kernels from full resolution down, equal neighbours once: ``1 x 3 x 3 (2 levels), ...``."""
    runs = [(kernel, len(list(same))) for kernel, same in groupby(kernels)]
    return ", ".join(f"{by(kernel)} ({count} level{'' if count == 1 else 's'})" for kernel, count in runs)


def _slashed(values: Sequence[int]) -> str:
    return "/".join(str(value) for value in values)


def by_spacing(spacing_mm: Sequence[float]) -> str:
    """Write spacings as ``3.27 x 0.98 x 0.98``.

    Source: own
    """
    return " x ".join(listed([spacing]) for spacing in spacing_mm)


def _cited(decision: Decision) -> str:
    return f"{decision.sentence.removesuffix('.')} {_reference(decision)}."


def _reference(decision: Decision) -> str:
    return f"[{decision.rule}; {decision.source}]"


def _argument(decision: Decision) -> list[str]:
    numbers = ", ".join(f"{name} = {_value(value)}" for name, value in decision.inputs.items())
    return [
        *_wrapped(f"- {decision.subject} = {_value(decision.outcome)}", "  "),
        *_wrapped(decision.sentence, "      "),
        *_wrapped(f"{_reference(decision)} saw {numbers or 'nothing'}", "      "),
    ]


def _value(value: object) -> str:
    return json.dumps(_shortened(encode(value)), ensure_ascii=False).replace('"', "")


def _shortened(value: object) -> object:
    """Cut floats to six significant digits; the plan's JSON holds them in full."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return value


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
