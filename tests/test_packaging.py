"""What the image installs is what the tests ran with."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

_ROOT = Path(__file__).resolve().parent.parent


def _pins(name):
    lines = (_ROOT / name).read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith(("#", "-r")))
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
    # The tests' torch is pinned in the Makefile; the image alone needs an init process.
    assert {name for name in image if name not in tested} <= {"torch", "dumb-init", "argparse"}
    assert f"torch=={image['torch']}" in (_ROOT / "Makefile").read_text()


# What `make lock` read of every wheel on the public index: version, requirements, bytes.
_WHEELS = json.loads((_ROOT / "tests/image/wheels.json").read_text())
_IMAGE = {"python_version": "3.11", "python_full_version": "3.11.14", "platform_system": "Linux"}
_IMAGE |= {"sys_platform": "linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
_IMAGE |= {"platform_python_implementation": "CPython", "os_name": "posix"}


def _needed(requirement, extras=("",)):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**_IMAGE, "extra": extra}) for extra in extras)


def test_the_cuda_lock_pins_every_package_that_the_public_wheels_need():
    pins = _pins("requirements.txt") | _pins("requirements-cuda.txt")
    assert {name: row["version"] for name, row in _WHEELS.items()} == pins
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    waiting = [(Requirement(item), "nnbox") for item in [*project["dependencies"], "dumb-init"]]
    reached = set()
    while waiting:
        requirement, by = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in pins, f"{by} needs {requirement}, which is not pinned"
        assert requirement.specifier.contains(pins[name], prereleases=True), f"{by} needs {requirement}: {pins[name]}"
        key = (name, frozenset(requirement.extras))
        if key in reached:
            continue
        reached.add(key)
        inner = [Requirement(item) for item in _WHEELS[name]["requires"]]
        waiting += [(item, name) for item in inner if _needed(item, ("", *requirement.extras))]
    assert {name for name, _ in reached} == set(pins), "nothing is pinned that nothing needs"
    assert any(name.startswith("nvidia-") for name in pins)


def test_the_readme_states_the_size_of_the_cuda_image_as_computed_from_its_wheels():
    unpacked = sum(row["unpacked_bytes"] for row in _WHEELS.values()) / 1e9
    assert f"{unpacked:.1f} GB of packages" in (_ROOT / "README.md").read_text()
