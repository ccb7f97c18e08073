"""The plan as an argument: the networks as drawings, and each value with its rule, its source and what the rule saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnbox.records.plan import ConfigurationPlan, Plan
from nnbox.report.document import Argument, Arguments, Block, Details, Drawings, Paragraph, Part, Parts, Section, Table
from nnbox.report.numbers import about, by, token, whole
from nnbox.report.topology import network_drawing

_LONG = 12


def plan_section(plan: Plan) -> Section:
    """Describe a plan."""
    names = [item.name for item in plan.configurations]
    groups: dict[str, list[Argument]] = {}
    for index, decision in enumerate(plan.decisions):
        head = decision.subject.split(".")[0]
        place = f"plan.json#/decisions/{index}"
        groups.setdefault(head if head in names else "", []).append(
            Argument(
                subject=decision.subject,
                outcome=value_parts(decision.outcome, f"{place}/outcome"),
                sentence=decision.sentence,
                rule=decision.rule,
                source=decision.source,
                inputs=tuple(
                    (name, value_parts(value, f"{place}/inputs/{token(name)}"))
                    for name, value in decision.inputs.items()
                ),
            )
        )
    blocks: list[Block] = [
        Paragraph(
            parts=(
                f"Planned by the rules of {plan.recipe} for a card of ",
                about(plan.planning_memory_gb, "plan.json#/planning_memory_gb"),
                " GB. Every value follows from the data by a rule; the sources are 2018 (arXiv:1809.10486), 2019 "
                "(arXiv:1904.08128), release (the first public nnU-Net) and own (a choice of nnbox).",
            )
        ),
        _table(plan),
        Drawings(items=tuple(network_drawing(f"net-{item.name}", item) for item in plan.configurations)),
        Paragraph(
            parts=(
                "A block is two convolutions with as many features as it says; between the blocks of a level is the "
                "size of the kernels, beside the arrows the stride, at the right the size of a patch at that level.",
            ),
            quiet=True,
        ),
    ]
    for head in ("", *names):
        if head in groups:
            arguments = Arguments(items=tuple(groups[head]))
            title = f"Why {head} is what it is" if head else "Why the data is prepared as it is"
            blocks.append(Details(summary=f"{title}: {len(groups[head])} decisions", blocks=(arguments,)))
    return Section(key="plan", title="The plan", blocks=tuple(blocks))


def _table(plan: Plan) -> Table:
    rows = tuple(_row(item, f"plan.json#/configurations/{index}") for index, item in enumerate(plan.configurations))
    columns = ("configuration", "spacing, mm", "median shape", "patch", "batch", "poolings", "features", "reads")
    return Table(caption="Configurations; axes in working order", columns=columns, rows=rows)


def _row(item: ConfigurationPlan, place: str) -> tuple[Parts, ...]:
    def sizes(name: str) -> Parts:
        return by([whole(value, f"{place}/{name}/{axis}") for axis, value in enumerate(getattr(item, name))])

    features = item.topology.features
    ends = (0, len(features) - 1)
    words = [whole(features[level], f"{place}/topology/features/{level}") for level in ends]
    return (
        (item.name,),
        by([about(value, f"{place}/spacing_mm/{axis}", 4) for axis, value in enumerate(item.spacing_mm)]),
        sizes("median_shape"),
        sizes("patch_size"),
        (whole(item.batch_size, f"{place}/batch_size"),),
        sizes("num_pool_per_axis"),
        (words[0], " to ", words[1]),
        (f"the image and {item.previous}" if item.previous else "the image",),
    )


def value_parts(value: Any, source: str) -> Parts:
    """Write a JSON value of a record as running text whose numbers have their origin."""
    if value is None or isinstance(value, bool):
        return ("none" if value is None else "yes" if value else "no",)
    if isinstance(value, (int, float)):
        return (whole(value, source) if isinstance(value, int) else about(value, source, 6),)
    if isinstance(value, (list, tuple)):
        return _listed([value_parts(item, f"{source}/{index}") for index, item in enumerate(value)])
    if isinstance(value, Mapping):
        return _listed([(f"{name} ", *value_parts(item, f"{source}/{token(name)}")) for name, item in value.items()])
    return (str(value),)


def _listed(items: list[Parts]) -> Parts:
    joined: list[Part] = []
    for item in items[:_LONG]:
        joined.extend((", ", *item) if joined else item)
    if len(items) > _LONG:
        joined.append(f", … ({len(items)} in all)")
    return ("[", *joined, "]") if items else ("none",)
