"""A U-Net as a drawing: one row per level, on the way down to the left, on the way up to the right."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from nnbox.records.plan import ConfigurationPlan
from nnbox.report.document import Drawing
from nnbox.report.figures import INK, LINE, MUTED, SERIES, draw

_ROW = 1.0
_GAP = 0.34
_LONGEST = 1.55


def network_drawing(key: str, plan: ConfigurationPlan) -> Drawing:
    """Draw a configuration's network: sizes, features, kernels and strides of every level."""
    net = plan.topology
    levels = len(net.features)
    sizes = level_sizes(plan)
    alt = (
        f"U-Net of {plan.name} with {levels} levels. "
        + "; ".join(
            f"level {level + 1}: {by(size)} voxels, {features} features, kernels {by(kernel)}"
            for level, (size, features, kernel) in enumerate(zip(sizes, net.features, net.kernels, strict=True))
        )
        + "."
    )

    def paint(axes: Axes) -> None:
        axes.set_axis_off()
        axes.set_xlim(-3.0, 3.0)
        axes.set_ylim(-(levels - 1) * (_ROW + _GAP) - 0.75, 1.0)
        axes.text(-1.1, 0.62, f"{net.input_channels} in", ha="center", color=MUTED, fontsize=7.5)
        axes.text(1.1, 0.62, f"{net.classes} out", ha="center", color=MUTED, fontsize=7.5)
        for level in range(levels):
            _level(axes, plan, level, sizes[level])

    return draw(key, f"Network of {plan.name}", alt, 0.42 + 0.47 * levels, paint)


def _level(axes: Axes, plan: ConfigurationPlan, level: int, size: tuple[int, ...]) -> None:
    net = plan.topology
    y = -level * (_ROW + _GAP)
    bottom = level == len(net.features) - 1
    features = net.features[level]
    length = _LONGEST * math.log2(features + 1) / math.log2(max(net.features) + 1)
    words = f"{features}"
    if bottom:
        _block(axes, 0.0, y, length, words)
    else:
        axes.plot([length / 2 - 1.1, 1.1 - length / 2], [y, y], color=LINE, linewidth=1.2, zorder=0)
        _block(axes, -1.1, y, length, words)
        _block(axes, 1.1, y, length, words)
        axes.text(0, y + 0.1, by(net.kernels[level]), ha="center", va="bottom", color=MUTED, fontsize=6.5)
        stride = by(net.strides[level + 1])
        below = -(level + 1) * (_ROW + _GAP)
        ends = (-0.35, 0.35) if level + 2 == len(net.features) else (-1.1, 1.1)
        for start, end, direction in ((-1.1, ends[0], "->"), (1.1, ends[1], "<-")):
            axes.annotate(
                "",
                xy=(end, below + 0.34),
                xytext=(start, y - 0.34),
                arrowprops={"arrowstyle": direction, "color": MUTED, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0},
            )
        axes.text(-1.28, y - (_ROW + _GAP) / 2, f"/ {stride}", ha="right", va="center", color=MUTED, fontsize=6.5)
    if bottom:
        axes.text(0, y - 0.5, by(net.kernels[level]), ha="center", va="center", color=MUTED, fontsize=6.5)
    axes.text(2.98, y, by(size), ha="right", va="center", color=INK, fontsize=7)


def _block(axes: Axes, x: float, y: float, length: float, words: str) -> None:
    box = (x - length / 2, y - 0.32)
    axes.add_patch(Rectangle(box, length, 0.64, facecolor=SERIES[0], alpha=0.18, linewidth=0))
    axes.add_patch(
        FancyBboxPatch(box, length, 0.64, boxstyle="square,pad=0", facecolor="none", edgecolor=SERIES[0], linewidth=0.9)
    )
    axes.text(x, y, words, ha="center", va="center", color=INK, fontsize=7.5)


def level_sizes(plan: ConfigurationPlan) -> tuple[tuple[int, ...], ...]:
    """Return the voxels of a patch at every level, from full resolution to the bottleneck."""
    sizes = []
    size = plan.patch_size
    for stride in plan.topology.strides:
        size = tuple(length // step for length, step in zip(size, stride, strict=True))
        sizes.append(size)
    return tuple(sizes)


def by(sizes: tuple[int, ...]) -> str:
    """Write sizes with a sign for times."""
    return "×".join(str(size) for size in sizes)
