"""The typer door: words on a command line into verbs, and failures into exit codes."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from nnbox.cli.commands import app
from nnbox.cli.options import LIST_OPTIONS
from nnbox.errors import NnboxError, Severity, UsageError, refusal
from nnbox.interruption import INTERRUPTED, TERMINATED, ignore_signals, listen_for_signals
from nnbox.limits import available_cpus, memory_ran_out
from nnbox.threads import settle_threads

_BUG = 70
# What the machine refuses, not what nnbox does wrong: a full disk, a missing right, a folder where a file should be.
_OUTSIDE = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),
        *(errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
    }
)
# Waiting threads that spin make a training step several times slower when other processes want the cores too. This and
# the number of threads must be set before numpy and torch are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if (_cpus := available_cpus()) < len(os.sched_getaffinity(0)):
    settle_threads(_cpus)


def _spread_lists(words: Sequence[str]) -> list[str]:
    """Turn ``--folds 0 1`` into ``--folds 0 --folds 1``: what people type, in the form click reads."""
    spread: list[str] = []
    option: str | None = None
    values = 0
    for word in words:
        if word.startswith("-"):
            name, given, _ = word.partition("=")
            option, values = (name, len(given)) if name in LIST_OPTIONS else (None, 0)
        elif option is not None:
            values += 1
            if values > 1:
                spread.append(option)
        spread.append(word)
    return spread


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; the README lists them."""
    from nnbox.console import complain

    arguments = list(sys.argv[1:] if words is None else words)
    listen_for_signals()
    try:
        if not arguments and "NNBOX_INPUT" in os.environ:
            from nnbox import verbs

            arguments = verbs.decide(Path(os.environ["NNBOX_INPUT"]), os.environ.get("NNBOX_OUTPUT"))
        code = app(_spread_lists(arguments or ["--help"]), standalone_mode=False, prog_name="nnbox")
    except NnboxError as error:
        complain(Severity.ERROR, str(error))
        return error.exit_code
    except TyperException as error:
        complain(Severity.ERROR, f"{error.format_message()} (see nnbox --help)")
        return UsageError.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as end:
        if end.code == TERMINATED:
            complain(Severity.ERROR, "terminated; the same command continues where it stopped")
        raise
    except Exception as error:  # the last door
        return _explain(error)
    # Typer turns an interrupt into this code and says nothing.
    if code == INTERRUPTED:
        complain(Severity.ERROR, "interrupted; the same command continues where it stopped")
    return code if isinstance(code, int) else 0


def run() -> NoReturn:
    """Run this process's command line and end with its exit code; a signal that comes once all is done is too late."""
    code = main()
    ignore_signals()
    gc.freeze()  # what is left ends with the process: looking for cycles in it takes a quarter of a second
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Tell what the machine refused, or that nnbox has a bug; return the exit code."""
    from nnbox.console import complain

    if isinstance(error, OSError) and error.errno in _OUTSIDE:
        refused = refusal(error)
        complain(Severity.ERROR, str(refused))
        return refused.exit_code
    if (starved := memory_ran_out(error)) is not None:
        complain(Severity.ERROR, str(starved))
        return starved.exit_code
    complain(Severity.ERROR, "this is a bug in nnbox; please report it with the lines below")
    sys.stderr.write(traceback.format_exc())
    return _BUG
