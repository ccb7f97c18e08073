"""A plan in words: the argument for every value, and a methods paragraph for a paper."""

from __future__ import annotations

import json
import re
import textwrap

from nnbox.recipes import RECIPES
from nnbox.records.codec import encode
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import ConfigurationPlan, Decision, Plan
from nnbox.rules.paragraph import describe_inference, describe_recipe
from nnbox.rules.sections import (
    NAMES,
    describe_configuration,
    describe_data,
    describe_networks,
    describe_preprocessing,
    reference,
)

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
    "×": r"$\times$",
}
_SOURCES = (
    "2018 is arXiv:1809.10486, 2019 is arXiv:1904.08128, release is the first public nnU-Net (2021: its later "
    "version), own is a choice of nnbox; nnbox/rules/README.md has a row for every rule."
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
        ("Data", describe_data(plan, fingerprint)),
        ("Preprocessing", describe_preprocessing(plan, decisions)),
        ("Networks", describe_networks(plan, decisions)),
        *((_title(item), describe_configuration(item, plan, decisions)) for item in plan.configurations),
    ]
    if plan.recipe in RECIPES:
        parts.append(("Training", describe_recipe(plan)))
        parts.append(("Inference and selection", describe_inference(plan, len(fingerprint.cases))))
    if plan.why_not_trainable:
        parts.append(("Limits", f"This is a plan, and nothing was trained from it: {plan.why_not_trainable}."))
    parts.append(("Sources", _SOURCES))
    if latex:
        return "\n\n".join(f"\\paragraph{{{_typeset(title)}.}} {_typeset(text)}" for title, text in parts) + "\n"
    return "\n\n".join("\n".join(_wrapped(_with_times(f"{title}. {text}"), "")) for title, text in parts) + "\n"


def _title(item: ConfigurationPlan) -> str:
    return f"{NAMES[item.name][0].upper()}{NAMES[item.name][1:]} ({item.name})"


def _argument(decision: Decision) -> list[str]:
    numbers = ", ".join(f"{name} = {_value(value)}" for name, value in decision.inputs.items())
    return [
        *_wrapped(f"- {decision.subject} = {_value(decision.outcome)}", "  "),
        *_wrapped(decision.sentence, "      "),
        *_wrapped(f"{reference(decision)} saw {numbers or 'nothing'}", "      "),
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


def _with_times(text: str) -> str:
    """Write ``2 x 3`` with a sign for times."""
    return re.sub(r"(?<=\d) x (?=\d)", " × ", text)


def _typeset(text: str) -> str:
    """Write a text for LaTeX: escaped, with signs for times and powers of ten."""
    escaped = "".join(_LATEX.get(character, character) for character in _with_times(text))
    return re.sub(r"(?<![\w.])(\d+)e-(\d+)", r"$\1\\cdot 10^{-\2}$", escaped)
