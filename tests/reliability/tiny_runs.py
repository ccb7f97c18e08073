"""Whole runs of the command line on a tiny data set, each a process of its own, quickly started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.faults import VARIABLE
from nnbox.files import digest_file

_MARK = "NNBOX_TEST_RUN"
# Written anew by every run, or timed.
_PASSING = {"log.jsonl", "report.html", ".lock", ".writers", ".presence.json", "progress.csv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run ended: its exit code (negative: the signal), what it said, and which of its processes were left."""

    code: int
    said: str
    left: tuple[str, ...]


class Runs:
    """Starts runs, one at a time."""

    def __init__(self, scratch: Path) -> None:
        self._said = scratch / "said.txt"
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("warm.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, *words: object, file_bytes: int = 0, jumping: bool = False, hasty: bool = False, **environment: str
    ) -> Run:
        """Run a command line to its end.

        Args:
            words: of the command line.
            file_bytes: no file may become larger, as on a full disk; 0: as it likes.
            jumping: the run's time of day jumps by three hours, back and forth, whenever it is asked for.
            hasty: what is measured for a time budget is measured once.
            environment: variables.
        """
        session = self._start(words, environment, file_bytes, jumping=jumping, hasty=hasty)
        return self._end(session)

    def stopped(self, *words: object, fault: str, then: Callable[[], None], file_bytes: int = 0) -> Run:
        """Run a command line, do something while it is stopped at a fault point, and let it go on."""
        session = self._start(words, {VARIABLE: fault}, file_bytes)
        while (state := _state(session)) not in {"T", "Z"}:
            time.sleep(0.05)
        if state == "T":
            then()
            os.kill(session, signal.SIGCONT)
        run = self._end(session)
        assert state == "T", f"{fault} was never reached: {run.said}"
        return run

    def _start(
        self,
        words: Sequence[object],
        environment: Mapping[str, str],
        file_bytes: int,
        *,
        jumping: bool = False,
        hasty: bool = False,
    ) -> int:
        request = {
            "words": [str(word) for word in words],
            "environment": {VARIABLE: "", _MARK: self._mark(), **environment},
            "said": str(self._said),
            "file_bytes": file_bytes,
            "jumping": jumping,
            "hasty": hasty,
        }
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def _end(self, session: int) -> Run:
        code = int(self._process.stdout.readline())
        return Run(code=code, said=self._said.read_text(), left=survivors(session, self._mark()))

    def _mark(self) -> str:
        """Return what the environment of a run's processes shows, and of no others."""
        return str(self._said)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def survivors(session: int, mark: str) -> tuple[str, ...]:
    """Return the processes of a run that still live when they had ten seconds to end."""
    for _ in range(100):
        if not (found := processes_of(session, mark)):
            return ()
        time.sleep(0.1)
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def processes_of(session: int, mark: str) -> tuple[str, ...]:
    """Return those of a session, and those with sessions of their own that inherited the mark."""
    found, marked = [], f"{_MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, _, _, owner = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state != "Z" and (int(owner) == session or marked in (entry / "environ").read_bytes().split(b"\0")):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return tuple(found)


def artefacts(out: Path) -> dict[str, str]:
    """Return the digest of every file that a run leaves, but for those that tell of time; receipts without theirs.

    What a killed run left half-written stays for a minute, and does not count.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        half = any(part.startswith(".part-") for part in path.relative_to(out).parts)
        if not path.is_file() or path.name in _PASSING or half:
            continue
        name = path.relative_to(out).as_posix()
        if name.startswith("receipts/"):
            document = json.loads(path.read_text())
            outputs = {file: state["sha256"] for file, state in document["outputs"].items() if "progress" not in file}
            found[name] = json.dumps([document["unit"], document["inputs"], outputs], sort_keys=True)
        else:
            found[name] = digest_file(path)
    return found


def train_words(data: Path, output: Path, *more: object) -> tuple[object, ...]:
    """Return the command of a short run over a flat network, a first stage and its cascade, in two folds."""
    return (
        *("train", "--input", data, "--output", output, "--splits", data.with_name("splits.json")),
        *("--configurations", "2d,3d_lowres,3d_cascade", "--epochs", 2, "--iterations", 2, "--deterministic"),
        *("--device", "cpu", "--planning-memory", 0.0015, "--mirror-axes", "x", "--workers", 2, *more),
    )


def short_words(data: Path, output: Path, *more: object) -> tuple[object, ...]:
    """Return the command of a run of one network."""
    words = list(train_words(data, output, *more))
    place = words.index("--configurations")
    return (*words[:place], "--configurations", "2d", "--folds", 0, *words[place + 2 :])
