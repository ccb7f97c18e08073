"""Volumes that are gone afterwards, and a run in one of them.

These tests need the built image and an engine: `make image-test` brings both.
"""

from __future__ import annotations

import contextlib
import uuid

import pytest
from container import IMAGE, TINY, cards, docker, nnbox, shell


@pytest.fixture(scope="session")
def volumes():
    """Makes names for volumes; what they hold is removed at the end."""
    made = []

    def name(word="data"):
        made.append(f"nnbox-test-{word}-{uuid.uuid4().hex[:8]}")
        return made[-1]

    yield name
    for volume in made:
        docker("volume", "rm", "--force", volume)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The synthetic data set in a folder of the host that anybody may read."""
    place = tmp_path_factory.mktemp("host")
    for parent in (place, *place.parents):
        with contextlib.suppress(PermissionError):
            if parent.stat().st_mode & 0o077 == 0:
                parent.chmod(0o755)
    made = place / "data"
    made.mkdir()
    made.chmod(0o777)
    nnbox("synthesize", "/out/Task01_Smoke", options=("-v", f"{made}:/out"))
    made.chmod(0o755)
    return made


@pytest.fixture
def filled(volumes, folder):
    """A fresh volume with the data set, filled as the README says."""
    volume = volumes()
    docker(
        *("run", "--rm", "-v", f"{volume}:/input", "-v", f"{folder}:/from:ro", "--entrypoint", "cp"),
        *(IMAGE, "-r", "/from/.", "/input"),
        check=True,
    )
    return volume


@pytest.fixture(scope="session")
def trained(volumes, folder):
    """A volume with the data set and a finished run beside it, and what that run printed."""
    volume = volumes("trained")
    shell("cp -r /from/. /input", "-v", f"{volume}:/input", "-v", f"{folder}:/from:ro", user="1000:1000")
    return volume, nnbox("train", *TINY, options=(*cards(), "-v", f"{volume}:/input"))
