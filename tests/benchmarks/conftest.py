"""The measuring scripts as modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
# They import each other by bare names, as scripts of one folder do.
sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture(scope="session")
def benchmarks() -> Path:
    """The folder of the scripts."""
    return BENCHMARKS
