"""The program in a process of its own, held to 4 GiB and a minute, and what it left behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
MEMORY_BYTES = 4 << 30
SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: its exit code; negative: ended by that signal.
        text: all it printed.
        peak_bytes: the largest resident memory of the process.
        timed_out: it had to be ended.
    """

    code: int
    text: str
    peak_bytes: int
    timed_out: bool


def run_confined(words: Sequence[str], place: Path) -> Outcome:
    """Run ``entrypoint.py`` in a folder with at most 4 GiB of private memory (RLIMIT_DATA) and 60 seconds.

    RLIMIT_AS would count the address space that torch's libraries reserve and never touch.
    """
    log = place / "printed.txt"
    (place / "tmp").mkdir(exist_ok=True)
    command = f'ulimit -d {MEMORY_BYTES >> 10} -c 0 2>/dev/null || ulimit -d {MEMORY_BYTES >> 10}; exec "$@"'
    with log.open("wb") as printed:
        process = subprocess.Popen(
            ["sh", "-c", command, "sh", sys.executable, str(ROOT / "entrypoint.py"), *words],
            cwd=place,
            env=_environment(place),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    late = threading.Event()

    def end() -> None:
        late.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(SECONDS, end)
    timer.start()
    _, status, usage = os.wait4(process.pid, 0)
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Outcome(
        code=process.returncode,
        text=log.read_text(errors="replace"),
        peak_bytes=usage.ru_maxrss << 10,
        timed_out=late.is_set(),
    )


def _environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NNBOX_", "PYTEST", "COV_"))}
    own = {"TMPDIR": str(place / "tmp"), "COLUMNS": "200", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return kept | own | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def snapshot(folder: Path) -> Mapping[str, str]:
    """Return what each path below a folder is: its kind, and for files digest, size and time."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest() if state.st_size < 1 << 24 else "large"
            found[name] = f"file {content} {state.st_size} {state.st_mtime_ns}"
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found
