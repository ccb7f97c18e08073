"""What the image installs is what the tests ran with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent


def _pins(name):
    lines = (_ROOT / name).read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in pairs}


def test_every_dependency_of_the_product_is_pinned_for_the_image():
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=]", item)[0].lower() for item in project["dependencies"]}
    assert names <= set(_pins("requirements.txt"))


def test_the_image_and_the_tests_pin_the_same_versions():
    image, tested = _pins("requirements.txt"), _pins("requirements.lock")
    assert "torch" in image
    assert {name: tested[name] for name in image if name in tested} == {
        name: version for name, version in image.items() if name in tested
    }
    assert {name for name in image if name not in tested} == {"torch"}
    assert f"torch=={image['torch']}" in (_ROOT / "Makefile").read_text()
