"""Which programs make a model."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

from nnbox import __version__


def running_versions() -> Mapping[str, str]:
    """Return the versions of nnbox, Python, torch and numpy that run now."""
    packages = {name: metadata.version(name) for name in ("torch", "numpy")}
    return {"nnbox": __version__, "python": platform.python_version(), **packages}
