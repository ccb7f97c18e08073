"""The jinja2 door: a report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from nnbox.report.document import Number, Report

_TEMPLATES = "nnbox.report"


def render(report: Report) -> str:
    """Return the page.

    It holds no script, no link to anything outside itself, and a policy that forbids a browser to fetch anything.
    """
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["is_number"] = _is_number
    environment.filters["data_uri"] = data_uri
    environment.filters["drawing"] = Markup
    return environment.get_template("report.html").render(
        report=report,
        titles={section.key: section.title for section in report.sections},
        style=Markup(_read("style.css")),
    )


def data_uri(png: bytes) -> str:
    """Return a PNG file as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _is_number(part: object) -> bool:
    return isinstance(part, Number)


def _read(name: str) -> str:
    return resources.files(_TEMPLATES).joinpath("templates", name).read_text(encoding="utf-8")
