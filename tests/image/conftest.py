"""An engine to run the image in, and volumes that are gone afterwards.

These tests need the built image and an engine: `make image-test` brings both. The name of the image is nnbox, as in
the README; ``DOCKER`` names the client.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
import uuid
from dataclasses import dataclass

import pytest

DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = "nnbox"
TINY = ("--configurations", "2d", "--epochs", "1", "--iterations", "2", "--planning-memory", "0.007")
"""A schedule that a CPU ends in seconds; everything else is as in a real run."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str
    seconds: float


def docker(*words, timeout=240, check=False):
    """Run the client with these words."""
    started = time.monotonic()
    done = subprocess.run(
        [DOCKER, *map(str, words)], capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
    )
    result = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
    assert not check or result.code == 0, f"{words}: {result}"
    return result


def nnbox(*words, options=(), check=True, timeout=240):
    """`docker run OPTIONS nnbox WORDS`, the container removed at the end."""
    done = docker("run", "--rm", *options, IMAGE, *words, timeout=timeout)
    assert not check or done.code == 0, f"{options} {words}: {done}"
    return done


def shell(script, *options, user="0:0"):
    """A shell script in a container of the image, as root unless said otherwise: to set a scene or to look at one."""
    entry = ("--entrypoint", "bash", "--user", user)
    return docker("run", "--rm", *entry, *options, IMAGE, "-c", script, check=True).out


def typed(line, *, options=()):
    """Run a printed `docker run` line word for word; ``--rm`` and options of the test's own are put in."""
    words = shlex.split(line)
    assert words[:2] == ["docker", "run"], line
    return docker("run", "--rm", *options, *words[2:])


def printed_line(text):
    """The `docker run` line that a message ends with."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("docker run ")]
    assert len(lines) == 1, text
    return lines[0]


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
    return volume, nnbox("train", *TINY, options=("--gpus", "all", "-v", f"{volume}:/input"))
