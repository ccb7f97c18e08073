"""Containers of the image, run as people run them.

The name of the image is nnbox, as in the README; ``DOCKER`` names the client.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import time
from dataclasses import dataclass

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
        [DOCKER, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    result = Done(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
    assert not check or result.code == 0, f"{words}: {result}"
    return result


@functools.cache
def cards():
    """``--gpus all`` as in the README, where the engine takes it; one without the NVIDIA toolkit refuses it."""
    wanted = ("--gpus", "all")
    return wanted if docker("run", "--rm", *wanted, "--entrypoint", "true", IMAGE).code == 0 else ()


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


def started(name):
    """Wait until a container that is being started is there."""
    for _ in range(600):
        if docker("inspect", name).code == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} was not started")


def wait_for(name, *words, seconds=120, required=True):
    """Wait until a running container has printed these words, and return True.

    Where it ended without them this is an error, or False where they are not required.
    """
    started(name)
    for _ in range(10 * seconds):
        printed = docker("logs", name).out
        if all(word in printed for word in words):
            return True
        if docker("inspect", "--format", "{{.State.Status}}", name).out.strip() in {"exited", "dead"}:
            break
        time.sleep(0.1)
    if required:
        state = docker("inspect", "--format", "{{json .State}}", name).out
        raise AssertionError(f"{words} was not said: {docker('logs', name)}, {state}")
    return False
