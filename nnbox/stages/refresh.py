"""The report kept fresh while a run goes on, by a process of its own that gives way to everything else.

Run as ``python -m nnbox.stages.refresh OUTPUT INPUT PARENT``: writes the report and prints the seconds it took. It ends
when the process PARENT ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from nnbox.processes import end_with
from nnbox.stages.child import child_environment
from nnbox.stages.journal import Journal
from nnbox.stages.workspace import Workspace

LEAST_SECONDS = 600.0
"""Between two reports in the middle of a stage; at the end of one a tenth of it."""
LARGEST_SHARE = 0.02
_LAST_CHANCE_SECONDS = 5.0
# One thread, and no card to hold memory on.
_MODEST = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class Refresher:
    """Has the report of a run written anew now and then. Never waits for it, and never fails.

    Args:
        workspace: the run's folder.
        root: the data set.
        journal: is told when a report could not be written.
    """

    def __init__(self, workspace: Workspace, root: Path, journal: Journal) -> None:
        self._workspace, self._root, self._journal = workspace, root, journal
        self._process: subprocess.Popen[str] | None = None
        self._began = time.monotonic()
        self._cost = 0.0

    def refresh(self, *, stage_ended: bool = False) -> bool:
        """Begin to write the report if that is due; return whether it was begun.

        Due: none is being written, and since the last one 10 minutes have passed (1 minute at the end of a stage), and
        so much time that reports take at most 2 % of it.
        """
        if self._is_busy():
            return False
        waited = time.monotonic() - self._began
        if waited < max(LEAST_SECONDS / (10 if stage_ended else 1), self._cost / LARGEST_SHARE):
            return False
        self._began = time.monotonic()
        command = [sys.executable, "-m", "nnbox.stages.refresh"]
        command += [str(self._workspace.root), str(self._root), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command, env=child_environment(_MODEST), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            self._journal.warn("report_failed", f"the report could not be refreshed ({error})")
            return False
        return True

    def finish(self) -> None:
        """Let a report that is being written come to its end, or stop it: the run is over."""
        if self._process is None:
            return
        try:
            self._process.wait(_LAST_CHANCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._is_busy()

    def _is_busy(self) -> bool:
        """Whether a report is being written; one that has ended is taken note of."""
        process = self._process
        if process is None:
            return False
        if process.poll() is None:
            return True
        said, complaint = process.communicate()
        self._process = None
        if process.returncode == 0:
            self._cost = float(said.split()[-1])
            self._journal.note("report", "the report was refreshed", {"seconds": self._cost})
        elif process.returncode > 0:
            reason = (complaint.strip().splitlines() or ["no reason given"])[-1]
            self._journal.warn("report_failed", f"the report could not be refreshed ({reason})")
        return False


def main(words: list[str]) -> int:
    """Write one report; return 0, or 1 where nobody waits for it any more."""
    parent = int(words[2])
    end_with(parent)
    if os.getppid() != parent:  # it ended before it was watched
        return 1
    from nnbox.stages.report import write_report  # noqa: PLC0415 - the parent imports this module, and needs no figures

    os.nice(19)
    started = time.monotonic()
    write_report(Workspace(Path(words[0])), Path(words[1]))
    sys.stdout.write(f"{time.monotonic() - started:.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
