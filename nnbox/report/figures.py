"""The matplotlib door: figures in the report's one style, as SVG that the page can colour.

Colours are placeholders: `to_svg` turns each into a variable of the page's style sheet, so that one drawing serves
light, dark and print. Text stays text, in the page's own font.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where a home folder cannot be written, matplotlib would warn on every start; its cache is small and may be lost.
if "MPLCONFIGDIR" not in os.environ and not os.access(Path.home(), os.W_OK):
    os.environ["MPLCONFIGDIR"] = tempfile.mkdtemp(prefix="nnbox-figures-")

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.layout_engine import ConstrainedLayoutEngine

from nnbox.report.document import Drawing

INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = ("#050505", "#060606", "#070707", "#080808", "#090909", "#0a0a0a")
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    PAPER: "--paper",
    **{color: f"--series-{number}" for number, color in enumerate(SERIES, start=1)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8.0,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 8.0,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "legend.labelcolor": MUTED,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}
WIDTH_IN = 3.7


def draw(key: str, title: str, alt: str, height_in: float, paint: Callable[[Axes], None]) -> Drawing:
    """Make a figure with one pair of axes.

    Args:
        key: unique in the page.
        title: heading above the figure.
        alt: what a person who cannot see it is told.
        height_in: height; the width is the same for all, so that text has one size.
        paint: draws into the axes.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=(WIDTH_IN, height_in))
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        ConstrainedLayoutEngine().execute(figure)  # by hand: a figure that has an engine is drawn twice
        return Drawing(key=key, title=title, alt=alt, svg=to_svg(figure, key))


def to_svg(figure: Figure, key: str) -> str:
    """Return a figure as an SVG element for a page: variables for colours, names of its own, no metadata."""
    text = io.StringIO()
    unwanted: dict[Any, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=unwanted)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{key}-\1"', svg)
    svg = re.sub(r'^<svg[^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    svg = re.sub(r"#0([1-9a])(?:0\1){2}\b", lambda found: f"var({_VARIABLES[found.group(0)]})", svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return RGB pixels, uint8 (y, x, 3), as a PNG file."""
    stream = io.BytesIO()
    nothing: dict[Any, Any] = {"Software": None}
    imsave(stream, np.ascontiguousarray(pixels), format="png", metadata=nothing)
    return stream.getvalue()


def legend(axes: Axes, labels: Sequence[tuple[str, str, str]]) -> None:
    """Explain line styles above the axes: (label, colour, line style)."""
    handles = [axes.plot([], [], color=color, linestyle=style, label=label)[0] for label, color, style in labels]
    axes.figure.legend(
        handles=handles, loc="outside upper left", ncols=len(labels), handlelength=1.6, columnspacing=1.2
    )
