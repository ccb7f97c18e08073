"""The style sheet and the drawings, without a browser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from importlib import resources

import pytest
from matplotlib.figure import Figure

from nnbox.report.charts import Axis, Curve, Group, Range, bars, curves, distribution, ranges
from nnbox.report.figures import draw as draw_figure

_STYLE = resources.files("nnbox.report").joinpath("templates", "style.css").read_text()
# What is written in which colour on which ground.
_TEXT = [
    *(("--ink", ground) for ground in ("--paper", "--panel", "--good-paper", "--warn-paper", "--bad-paper")),
    *(("--muted", ground) for ground in ("--paper", "--panel")),
    *(("--link", ground) for ground in ("--paper", "--panel", "--good-paper", "--warn-paper", "--bad-paper")),
    *((f"--{name}", f"--{name}-paper") for name in ("good", "warn", "bad")),
]


def _themes():
    blocks = re.findall(r"(@media [^{]+\{\s*)?:root \{([^}]*)\}", _STYLE)
    names = ["light", "dark", "print"]
    assert len(blocks) == len(names)
    return {
        name: dict(re.findall(r"(--[\w-]+):\s*(#\w{6})", body)) for name, (_, body) in zip(names, blocks, strict=True)
    }


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_computed_as_defined():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_can_be_read(theme):
    colors = _themes()[theme]
    low = {pair: _contrast(colors[pair[0]], colors[pair[1]]) for pair in _TEXT}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_lines_of_a_drawing_can_be_seen(theme):
    colors = _themes()[theme]
    low = {n: _contrast(colors[f"--series-{n}"], colors["--paper"]) for n in range(1, 7)}
    assert {name: value for name, value in low.items() if value < 3} == {}


def test_every_theme_defines_every_colour_and_none_is_unused():
    themes = _themes()
    assert len({frozenset(colors) for colors in themes.values()}) == 1
    assert set(re.findall(r"var\((--[\w-]+)\)", _STYLE)) <= set(themes["light"])


def _drawings():
    groups = [Group(name="a < b & c", values=(0.1, 0.2, 0.9, 0.95, 0.5)), Group(name="none", values=())]
    line = Curve(x=(1.0, 2.0, 3.0), y=(0.5, None, 0.2), color=0)
    point = Curve(x=(1.0,), y=(0.5,), color=7, broken=True)
    span = Range(name="CT", least=-1000, low=-100, middle=0, high=100, most=3000)
    return [
        distribution("d", "t", "a", groups, Axis(label="Dice")),
        distribution("g", "t", "a", groups[:1], Axis(label="ml", logarithmic=True)),
        curves("c", "t", "a", [line, point], Axis(label="loss"), [("training", 0, False), ("validation", 0, True)]),
        ranges("r", "t", "a", [span], "HU"),
        bars("b", "t", "a", [("train", 12.0, "12 s"), ("none", 0.0, "0 s")], "s"),
    ]


@pytest.mark.parametrize("drawing", _drawings(), ids=lambda item: item.key)
def test_a_drawing_is_one_svg_element_coloured_by_the_page(drawing):
    root = ET.fromstring(drawing.svg)
    assert root.tag.endswith("svg")
    assert set(root.attrib) == {"viewBox", "aria-hidden"}
    hard = set(re.findall(r"#[0-9a-f]{6}\b", drawing.svg))
    assert not hard, f"{hard} would not follow the theme"
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", drawing.svg)
    themes = _themes()
    assert set(re.findall(r"var\((--[\w-]+)\)", drawing.svg)) <= set(themes["light"])


def test_drawings_of_one_page_share_no_names():
    names = [name for drawing in _drawings() for name in re.findall(r'\bid="([^"]+)"', drawing.svg)]
    assert len(names) == len(set(names))


def test_every_value_of_a_distribution_is_a_dot():
    drawing = distribution("d", "t", "a", [Group(name="a", values=tuple(n / 7 for n in range(7)))], Axis(label="x"))
    root = ET.fromstring(drawing.svg)
    uses = [element for element in root.iter() if element.tag.endswith("use")]
    dots = [element for element in uses if "opacity: 0.75" in (element.get("style") or "")]
    assert len(dots) == 7


def test_drawings_are_the_same_every_time():
    assert [drawing.svg for drawing in _drawings()] == [drawing.svg for drawing in _drawings()]


def test_a_figure_is_drawn_once(monkeypatch):
    drawn, draw = [], Figure.draw
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer))[1])
    some = draw_figure("key", "title", "alt", 2.0, lambda axes: axes.plot([0, 1], [0, 1]))
    assert len(drawn) == 1
    assert some.svg.startswith("<svg")
