"""What the image is: its labels, user, folders and init process; a change of source installs nothing."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from container import DOCKER, IMAGE, docker, nnbox, shell

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def described():
    return json.loads(docker("image", "inspect", IMAGE, check=True).out)[0]


def test_the_image_says_what_it_is(described):
    labels = described["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == nnbox("--version").out.split()[1]
    assert labels["org.opencontainers.image.revision"] in nnbox("--version").out
    environment = dict(item.split("=", 1) for item in described["Config"]["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_it_runs_as_nobody_special_and_declares_no_volume(described):
    assert described["Config"]["User"] == "1000:1000"
    assert not described["Config"].get("Volumes")
    assert described["Config"]["Entrypoint"][0].endswith("dumb-init")


def test_input_and_output_are_there_for_any_user():
    assert shell("stat -c '%a %n' /input /output").split() == ["1777", "/input", "1777", "/output"]


def test_orphans_are_reaped():
    script = "(sleep 0.1 &) ; sleep 1; for p in /proc/[0-9]*; do grep -h '^State:.*zombie' $p/status; done; true"
    found = docker("run", "--rm", "--entrypoint", "/opt/nnbox/bin/dumb-init", IMAGE, "--", "bash", "-c", script)
    assert (found.code, found.out) == (0, "")


def test_no_setting_of_the_build_stays_in_the_image():
    assert shell("find /wheels /run/secrets /etc/pip.conf -type f -size +0 2>/dev/null; true") == ""
    assert "index" not in docker("history", "--no-trunc", IMAGE, check=True).out


def test_a_change_of_source_installs_nothing(tmp_path):
    for name in ("Dockerfile", ".dockerignore", "requirements.txt", "requirements-cuda.txt", "entrypoint.py"):
        shutil.copy2(_ROOT / name, tmp_path / name)
    shutil.copytree(_ROOT / "nnbox", tmp_path / "nnbox", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "nnbox" / "errors.py").open("a") as stream:
        stream.write("# changed\n")
    words = ["bash", _ROOT / "tests/image/engine.sh", "build", f"{IMAGE}:changed", tmp_path]
    built = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    docker("image", "rm", f"{IMAGE}:changed")
    steps = (built.stdout + built.stderr).splitlines()
    number = next(line.split()[0] for line in steps if "pip install" in line)
    assert f"{number} CACHED" in steps, DOCKER


def test_the_image_is_as_small_as_stated():
    """The README states the size of the CPU image; the CUDA image's is computed from the wheels."""
    size = int(docker("image", "inspect", "--format", "{{.Size}}", IMAGE, check=True).out)
    cuda = "nvidia-cublas" in shell("/opt/nnbox/bin/pip list --format freeze")
    assert size < (7.5e9 if cuda else 2.2e9)
