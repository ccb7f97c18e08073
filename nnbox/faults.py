"""Named points at which a test may kill or stop the run, to show that it can be killed anywhere. Source: own.

Armed by the environment variable ``NNBOX_FAULT_POINT`` alone, read once::

    NNBOX_FAULT_POINT="before rename@*/2d/fold_1/weights.safetensors:1"   kills the whole process group
    NNBOX_FAULT_POINT="training step@2d/fold_0:3:alone"                   kills the one process that got there
    NNBOX_FAULT_POINT="told@plan:1:stop"                                  stops that process, until it is continued

that is: the point, after ``@`` a pattern (as in a shell) for its subject, how many times a process passes there before
it happens, the last time included. A process counts for itself. Not armed, a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

VARIABLE = "NNBOX_FAULT_POINT"


@dataclass(slots=True)
class _Armed:
    """What was asked for; ``left`` is how many times it is still passed, the deadly one included."""

    point: str
    subject: str
    left: int
    how: str


def reached(point: str, subject: str | Path = "") -> None:
    """Say that a point was reached; if that is the one asked for, this is the last thing that happens.

    Args:
        point: its name, in words.
        subject: what is worked on there: a unit's name or a file.
    """
    if _armed is not None:
        _pass(_armed, point, str(subject))


def arm(words: str | None) -> None:
    """Ask for a point, or with None for none; for tests, which start runs without starting Python anew.

    Raises:
        ValueError: the words are not of the form above.
    """
    global _armed  # noqa: PLW0603 - a process dies once
    _armed = None if not words else _parse(words)


def _parse(words: str) -> _Armed:
    place, count, *how = [*words.split(":"), ""] if ":" not in words else words.split(":")
    if how not in ([], ["alone"], ["stop"]) or not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{VARIABLE}={words}: expected point[@subject]:count[:alone|:stop]")
    point, _, subject = place.partition("@")
    return _Armed(point, subject or "*", int(count), "".join(how))


def _pass(armed: _Armed, point: str, subject: str) -> None:
    if point != armed.point or not fnmatchcase(subject, armed.subject):
        return
    armed.left -= 1
    if armed.left == 0:
        sys.stderr.write(f"{VARIABLE}: {armed.how or 'killed'} at {point} {subject}\n")
        sys.stderr.flush()
        if armed.how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif armed.how == "alone":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            os.killpg(os.getpgrp(), signal.SIGKILL)


_armed: _Armed | None = None
arm(os.environ.get(VARIABLE))
