"""What fuzzing started from and what it found: each of these inputs was refused in words, or read."""

from __future__ import annotations

from pathlib import Path

import pytest
from targets import TARGETS

_FILES = sorted(path for kind in ("seeds", "found") for path in (Path(__file__).parent / kind).glob("*/*"))


@pytest.mark.parametrize("path", _FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_an_input_of_the_fuzzer_is_refused_in_words_or_read(path):
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_seeds():
    assert {path.parent.name for path in _FILES} == set(TARGETS)
