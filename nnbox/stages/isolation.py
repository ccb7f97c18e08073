"""Starting a program under the limits of grand-challenge.org, as far as this user may impose them.

The platform unpacks the model at ``/opt/ml/model``, puts the images below ``/input``, collects ``/output``, gives an
empty ``/tmp`` and no network, runs the image's own user, and limits the data segment of the process (RLIMIT_DATA) to
what ``GRAND_CHALLENGE_COMPONENT_MAX_MEMORY_MB`` says. See ``docs/grand-challenge.md``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MEMORY_VARIABLE = "GRAND_CHALLENGE_COMPONENT_MAX_MEMORY_MB"
_NOBODY = "65534"
# A root of its own for the job: the system's folders bound into it, the job's folders lying in it as in an image.
_OWN_ROOT = """
set -e
new=$1; shift
for entry in /* /opt/*; do
  case "$entry" in /input|/output|/tmp|/opt|/opt/ml) continue;; esac
  if [ -L "$entry" ]; then ln -sfn "$(readlink "$entry")" "$new$entry"
  elif [ -d "$entry" ]; then mkdir -p "$new$entry"; mount --rbind "$entry" "$new$entry"
  fi
done
exec chroot "$new" "$@"
"""
_LIMITED = (
    "import os, resource, sys; size = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_DATA, (size, size)); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)
# It must be this very Python with its own library, able to start itself, that finds this nnbox and the job's folders:
# what lies below /tmp is not to be seen from a root of the job's own.
_PROBE = """
import os, subprocess, sys
assert os.__file__ == sys.argv[1]
subprocess.run([sys.executable, "-c", ""], check=True)
sys.path.insert(0, sys.argv[2])
import nnbox.errors
assert os.path.dirname(nnbox.errors.__file__) == os.path.join(sys.argv[2], "nnbox")
for folder in sys.argv[3:]:
    os.listdir(folder)
"""


class Walls(StrEnum):
    """What separates a job from this machine."""

    ROOT = "root"
    NETWORK = "network"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class JobFolders:
    """The folders of one job below a folder that may serve as its root."""

    root: Path

    @property
    def input(self) -> Path:
        """``/input``."""
        return self.root / "input"

    @property
    def output(self) -> Path:
        """``/output``."""
        return self.root / "output"

    @property
    def model(self) -> Path:
        """``/opt/ml/model``."""
        return self.root / "opt" / "ml" / "model"

    def make(self) -> None:
        """Make them with the platform's rights: the input for reading, the others for writing by anybody."""
        for folder in (self.input, self.output, self.model, self.root / "tmp"):
            folder.mkdir(parents=True)
        for folder in (self.root, self.input, self.root / "opt", self.root / "opt" / "ml"):
            folder.chmod(0o755)
        for folder in (self.output, self.model, self.root / "tmp"):
            folder.chmod(0o777)


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How a job is started.

    Attributes:
        walls: what separates it from this machine.
        drops_root: the job runs as another user than root, who started it.
        memory_mb: its memory limit.
    """

    walls: Walls
    drops_root: bool
    memory_mb: int

    def command(self, folders: JobFolders, words: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that starts a program (its first word an absolute path) as such a job."""
        size = str(self.memory_mb * 1024 * 1024)
        return (sys.executable, "-c", _LIMITED, size, *self._walls(folders), *self._dropping(), *words)

    def environment(self, folders: JobFolders) -> dict[str, str]:
        """Return the job's environment: this one without nnbox's own variables, and what the platform sets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NNBOX_", "TMPDIR"))}
        kept |= {MEMORY_VARIABLE: str(self.memory_mb), "LOG_LEVEL": "INFO", "no_proxy": "amazonaws.com"}
        kept |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        if self.walls is not Walls.ROOT:
            kept |= {"NNBOX_INPUT": str(folders.input), "NNBOX_OUTPUT": str(folders.output)}
            kept |= {"NNBOX_MODEL": str(folders.model), "TMPDIR": str(folders.root / "tmp")}
        return kept

    def words(self) -> Mapping[str, str]:
        """Return each limit in words: how it is imposed, or that it is not."""
        own_root = self.walls is Walls.ROOT
        return {
            "memory": f"{self.memory_mb} MB, by RLIMIT_DATA; {MEMORY_VARIABLE} says so",
            "network": self._network(),
            "user": self._user(),
            "model": "/opt/ml/model" if own_root else "a fresh folder, by NNBOX_MODEL (not /opt/ml/model)",
            "folders": "/input, /output, an empty /tmp" if own_root else "by NNBOX_INPUT, NNBOX_OUTPUT and TMPDIR",
        }

    def _network(self) -> str:
        if self.walls is not Walls.NONE:
            return "none (its own namespace)"
        if {name for _, name in socket.if_nameindex()} <= {"lo"}:
            return "none (there is none here)"
        return "NOT taken away: this user may not"

    def _user(self) -> str:
        if self.drops_root:
            return f"{_NOBODY}, without capabilities"
        if os.getuid() == 0:
            return "0: ROOT, since its rights cannot be dropped here"
        return f"{os.getuid()}, as the caller"

    def _dropping(self) -> tuple[str, ...]:
        rights = ("--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")
        if self.drops_root:
            return ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *rights)
        # A user's own namespace makes it root in there.
        mapped = os.getuid() != 0 and self.walls is not Walls.NONE
        return ("setpriv", *rights) if mapped and shutil.which("setpriv") is not None else ()

    def _walls(self, folders: JobFolders) -> tuple[str, ...]:
        if self.walls is Walls.NONE:
            return ()
        mapped = () if os.getuid() == 0 else ("--map-root-user",)
        if self.walls is Walls.NETWORK:
            return ("unshare", *mapped, "--net")
        private = ("--mount", "--propagation", "private")
        return ("unshare", *mapped, "--net", *private, "sh", "-c", _OWN_ROOT, "sh", str(folders.root))


def strongest_isolation(scratch: Path, memory_mb: int) -> Isolation:
    """Try what this user may do, from the strictest on; return the first that starts a program which can be used."""
    for number, isolation in enumerate(_candidates(memory_mb)):
        folders = JobFolders(scratch / f"probe-{number}")
        folders.make()
        own_root = isolation.walls is Walls.ROOT
        places = ("/input", "/output", "/opt/ml/model") if own_root else (str(folders.input), str(folders.model))
        command = isolation.command(folders, (sys.executable, "-c", _PROBE, os.__file__, str(code_folder()), *places))
        if _works(command, isolation.environment(folders)):
            return isolation
    return Isolation(walls=Walls.NONE, drops_root=False, memory_mb=memory_mb)


def _candidates(memory_mb: int) -> Iterator[Isolation]:
    may_drop = os.getuid() == 0 and shutil.which("setpriv") is not None
    for walls in Walls:
        if walls is not Walls.NONE and shutil.which("unshare") is None:
            continue
        for drops_root in (True, False) if may_drop else (False,):
            yield Isolation(walls=walls, drops_root=drops_root, memory_mb=memory_mb)


def _works(command: tuple[str, ...], environment: Mapping[str, str]) -> bool:
    try:
        tried = subprocess.run(command, env=environment, cwd=code_folder(), capture_output=True, check=False)
    except OSError:
        return False
    return tried.returncode == 0


def code_folder() -> Path:
    """Return the folder that holds the package nnbox."""
    return Path(__file__).resolve().parents[2]
