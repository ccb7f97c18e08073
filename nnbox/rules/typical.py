"""The typical case of a task: order of axes, target spacing, median shape, each as a decision."""

from __future__ import annotations

from dataclasses import dataclass

from nnbox.geometry import Shape3, Spacing3
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Decision
from nnbox.rules.argument import by, listed
from nnbox.rules.spacing import (
    choose_axis_order,
    median_shape,
    rounded_shape,
    target_spacing,
    target_spacing_2021,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalCase:
    """What the later rules see of all cases together, in working order.

    Attributes:
        axis_order: working axis i is source axis ``axis_order[i]``.
        spacing_mm: target spacing.
        median_vox: unrounded median shape at that spacing.
        rounded_vox: the same, rounded.
        decisions: how each came about.
    """

    axis_order: tuple[int, int, int]
    spacing_mm: Spacing3
    median_vox: tuple[float, float, float]
    rounded_vox: Shape3
    decisions: tuple[Decision, ...]


def describe_typical_case(fingerprint: Fingerprint, *, coarse_percentile: bool) -> TypicalCase:
    """Derive order of axes, target spacing and median shape.

    Args:
        fingerprint: at least one case.
        coarse_percentile: apply the 2021 rule for very coarse axes.

    Source: 2018 §2.2, 2019 §2.1
    """
    spacings = [case.spacing_mm for case in fingerprint.cases]
    shapes = [case.shape_vox for case in fingerprint.cases]
    median_mm = target_spacing(spacings)
    order = choose_axis_order(median_mm, fingerprint.dimension)
    flat = fingerprint.dimension == 2
    source_mm = target_spacing_2021(spacings, shapes) if coarse_percentile and not flat else median_mm
    target = _reorder(source_mm, order)
    typical = _reorder(median_shape(shapes, spacings, source_mm), order)
    rounded = rounded_shape(typical)
    decisions = (
        _decide_order(median_mm, order),
        _decide_spacing(fingerprint, target, _reorder(median_mm, order)),
        Decision(
            subject="median_shape",
            rule=median_shape.__name__,
            source="2018 §2.2, release",
            inputs={"cases": len(shapes), "target_spacing_mm": target, "unrounded_vox": typical},
            outcome=rounded,
            sentence=f"The median over {len(shapes)} cases of shape times spacing over target is {by(rounded)} voxels.",
        ),
    )
    return TypicalCase(
        axis_order=order, spacing_mm=target, median_vox=typical, rounded_vox=rounded, decisions=decisions
    )


def _reorder(values: tuple[float, float, float], order: tuple[int, int, int]) -> tuple[float, float, float]:
    z, y, x = (values[axis] for axis in order)
    return (z, y, x)


def _decide_order(median_mm: Spacing3, order: tuple[int, int, int]) -> Decision:
    names = "zyx"
    written = "".join(names[axis] for axis in order)
    return Decision(
        subject="axis_order",
        rule=choose_axis_order.__name__,
        source="2019 §2.1",
        inputs={"median_spacing_mm": median_mm},
        outcome=order,
        sentence=(
            f"Median spacings along z, y, x are {listed(median_mm)} mm; the axis of the largest comes first: {written}."
        ),
    )


def _decide_spacing(fingerprint: Fingerprint, target: Spacing3, median_mm: Spacing3) -> Decision:
    cases = len(fingerprint.cases)
    if target == median_mm:
        return Decision(
            subject="spacing_mm",
            rule=target_spacing.__name__,
            source="2018 §2.2, 2019 §2.1",
            inputs={"cases": cases, "median_mm": median_mm},
            outcome=target,
            sentence=f"The target spacing is the median over {cases} cases on each axis: {listed(target)} mm.",
        )
    return Decision(
        subject="spacing_mm",
        rule=target_spacing_2021.__name__,
        source="release (2021)",
        inputs={"cases": cases, "median_mm": median_mm},
        outcome=target,
        sentence=(
            f"The first axis is more than 3 times coarser than the next and has less than a third of its voxels, so "
            f"its target is the 10th percentile of its spacings: {listed(target)} mm instead of {listed(median_mm)} mm."
        ),
    )
