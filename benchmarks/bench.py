"""`make bench` and `make bench-peer`: every measured row, reference and ours alternating in one run.

How to add rows: write a module ``rows_<topic>.py`` with a function ``rows(places: Places) -> list[Row]`` and name it in
`TOPICS`. A `Row` (all records: `row.py`) says what is measured and against what; its ``prepare`` makes the inputs
(untimed, only when the row runs) and returns a `Pair`: two callables without arguments, and ``agree``, which compares
what they returned. Import heavy libraries inside these functions: ``--list`` and other rows need not wait for them.

* A row in this process is timed with one thread (variables of the environment, and threadpoolctl) and one untimed
  round before; that neither side had more is checked: its processor time must not exceed the time that passed. A row of
  whole commands (``threads=None``) starts processes with `Places.environment`, in which no number of threads is set,
  and has no untimed round unless it asks for one.
* ``Pair.before`` is called, untimed, before every timed call (to empty a folder, to drop a cache).
* A callable whose time is not the whole call (a row about one part) returns ``Timed(seconds, result)``.
* ``Pair.figures`` returns further numbers after the last round (sizes on disk, time of a part).
* ``needs_peer`` marks rows that need the other tool: they run in ``make bench-peer`` only.
* ``missing`` says why a row cannot be measured on this machine, and so does the table then.
* ``remark`` goes into the table beside a figure: what was tried, when it stays below its target.

Results go into ``results/<date>-<device>.json``; a row measured again on the same day replaces the earlier one. The
table in ``README.md`` shows each row's newest measurement (`table.py`).
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import table
import threadpoolctl
from row import Agreement, Pair, Places, Row, Timed

TOPICS = (
    "rows_imaging",
    "rows_inference",
    "rows_training",
    "rows_peer",
    "rows_peer_augmentation",
    "rows_predict",
    "rows_step",
)
_THREADS_TOLERANCE, _LONG_ENOUGH_SECONDS = 0.1, 0.02
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")


@dataclass(slots=True)
class _Times:
    reference: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    threads: float = 0.0


def measure(row: Row, repetitions: int) -> dict[str, Any]:
    """Run a row and return its entry for the results."""
    pair = row.prepare()
    times, agreement = _Times(), Agreement("–", holds=True)
    with threadpoolctl.threadpool_limits(limits=row.threads):
        if row.warm_up:
            agreement = _compare(pair, _Times())
        for _ in range(repetitions):
            agreement = _compare(pair, times)
    if row.threads is not None and times.threads > row.threads + _THREADS_TOLERANCE:
        agreement = Agreement(f"{times.threads:.1f} threads were at work, {row.threads} was agreed", holds=False)
    slow, fast = median(times.reference), median(times.ours)
    return {
        "name": row.name,
        "job": row.job,
        "reference": row.reference,
        "threads": row.threads,
        "reference_seconds": _rounded(times.reference),
        "ours_seconds": _rounded(times.ours),
        "reference_median": _significant(slow),
        "ours_median": _significant(fast),
        "ratio": _significant(slow / fast),
        "target": row.target,
        "agreement": agreement.words,
        "agrees": bool(agreement.holds),
        "figures": {name: _significant(value) for name, value in pair.figures().items()},
        "remark": row.remark,
    }


def unmeasured(row: Row) -> dict[str, Any]:
    """Return the entry of a row that cannot be measured on this machine; its remark says why."""
    return {
        "name": row.name,
        "job": row.job,
        "reference": row.reference,
        "threads": row.threads,
        "reference_seconds": [],
        "ours_seconds": [],
        "reference_median": None,
        "ours_median": None,
        "ratio": None,
        "target": row.target,
        "agreement": "–",
        "agrees": True,
        "figures": {},
        "remark": f"not measured: {row.missing}",
    }


def _compare(pair: Pair, times: _Times) -> Agreement:
    reference = _timed(pair.before, pair.reference, times.reference, times)
    ours = _timed(pair.before, pair.ours, times.ours, times)
    return pair.agree(reference, ours)


def _timed(before: Callable[[], None], work: Callable[[], Any], seconds: list[float], times: _Times) -> Any:
    before()
    busy, started = time.process_time(), time.perf_counter()
    result = work()
    spent, busy = time.perf_counter() - started, time.process_time() - busy
    if spent > _LONG_ENOUGH_SECONDS:
        times.threads = max(times.threads, busy / spent)
    if isinstance(result, Timed):
        spent, result = result.seconds, result.result
    seconds.append(spent)
    return result


def _rounded(seconds: list[float]) -> list[float]:
    return [_significant(value) for value in seconds]


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def all_rows(places: Places) -> list[Row]:
    """Return the rows of every topic."""
    return [row for topic in TOPICS for row in importlib.import_module(topic).rows(places)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--peer", type=Path, help="bin folder of the other tool; runs the rows that need it, only")
    parser.add_argument("--only", metavar="PATTERN", help="rows whose name contains or matches this")
    parser.add_argument("--repetitions", type=int, help="instead of each row's own")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--device", default="cpu", help="names the results file")
    return parser.parse_args()


def main() -> None:
    """Run rows, print each as it is done, and write the results and the table."""
    arguments = _arguments()
    peer = arguments.peer.resolve() if arguments.peer else None
    environment = {name: value for name, value in os.environ.items() if name not in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # before a topic imports a library that counts the cores
    places = Places(arguments.data.resolve(), arguments.work.resolve(), peer, environment)
    pattern = arguments.only
    rows = [
        row
        for row in all_rows(places)
        if (arguments.list or row.needs_peer == (peer is not None))
        and (pattern is None or pattern in row.name or fnmatch.fnmatchcase(row.name, pattern))
    ]
    if arguments.list:
        for row in rows:
            print(f"{row.name:40}{'peer ' if row.needs_peer else ''}{row.job}")
        return
    if not rows:
        sys.exit("bench: no such row (see --list)")
    places.work.mkdir(parents=True, exist_ok=True)
    wrong, began = [], time.monotonic()
    for row in rows:
        entry = unmeasured(row) if row.missing else measure(row, arguments.repetitions or row.repetitions)
        print(table.line(entry), flush=True)
        if not entry["agrees"]:
            wrong.append(row.name)
        elif not arguments.no_write:
            table.record(entry, device=arguments.device)
    spent = time.monotonic() - began
    print(f"{len(rows)} rows in {spent / 60:.1f} minutes")
    if not arguments.no_write:
        if pattern is None and arguments.repetitions is None:
            table.record_total(table.COMMANDS[peer is not None], spent, device=arguments.device)
        table.write()
    if wrong:
        sys.exit(f"bench: no agreement in {', '.join(wrong)}")


if __name__ == "__main__":
    main()
