"""`make soak`: what only long or large runs show, through the program as a shell starts it. Not in CI.

* ``scan``: a CT of 512 x 512 x 1700 voxels, 3 classes, predicted within 8 GB.
* ``classes``: 105 classes at 384 x 384 x 384 voxels within 4 GB, with the labels of a prediction that has no limit.
* ``announcement``: what predictions of other sizes say that they will hold, and what they hold.
* ``epochs``: memory and open files stay flat over 200 epochs of training.
* ``cases``: the same over 500 predicted cases.

Each check starts commands, looks at their whole process trees from outside (`course.py`) and writes its figures into
``results/soak``; the table in ``README.md`` is made of them. A check that has not run is "not measured".
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import soak_large
import soak_long
import table

RESULTS = table.RESULTS / "soak" / "latest.json"
BEGIN, END = "<!-- table: begin (make soak) -->", "<!-- table: end (make soak) -->"
CHECKS = {**soak_large.CHECKS, **soak_long.CHECKS}


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """Return the table: every check, with its last result or "not measured"."""
    lines = ["| check | what | limit | seen | kept | minutes | measured |", "|---|---|---|---|---|---|---|"]
    for name, check in CHECKS.items():
        found = results.get(name)
        if found is None:
            seen = ["not measured", "–", "–", "–"]
        else:
            figures = "; ".join(f"{words} {value:g}" for words, value in found["figures"].items())
            kept = "yes" if found["holds"] else "**no**"
            seen = [figures, kept, f"{found['seconds'] / 60:.1f}", found["measured"][:10]]
        lines.append("| " + " | ".join([f"`{name}`", check.what, check.limit, *seen]) + " |")
    return "\n".join(lines)


def stored() -> dict[str, dict[str, Any]]:
    """Return the last result of every check that has run."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def with_table(text: str, rendered: str) -> str:
    """Return a text with the table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rendered}\n\n{END}{after}"


def main() -> None:
    """Run the checks, one after the other; exit 1 if a limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/soak"))
    parser.add_argument("--only", choices=sorted(CHECKS), action="append", help="one check; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    arguments = parser.parse_args()
    work, failed = arguments.work.resolve(), []
    for name in arguments.only or CHECKS:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        seen = CHECKS[name].run(work / name)
        seconds = sum(course.seconds for course in seen.courses)
        entry = {
            "figures": {words: float(f"{value:.4g}") for words, value in seen.figures.items()},
            "holds": seen.holds,
            "seconds": round(seconds, 1),
            "looks": sum(len(course.looks) for course in seen.courses),
            "measured": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "commit": table.commit(),
            "machine": table.machine(),
        }
        kept = "kept" if seen.holds else "NOT KEPT"
        print(f"{name}: {kept}; {entry['figures']}; {seconds / 60:.1f} min", flush=True)
        if seen.failed is not None:
            last = seen.failed.output.splitlines()[-15:]
            print(f"  it ended with exit code {seen.failed.exit_code}:", *last, sep="\n  ", flush=True)
        elif not arguments.no_write:
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps({**stored(), name: entry}, indent=1, ensure_ascii=False) + "\n")
            table.README.write_text(with_table(table.README.read_text(), markdown(stored())))
        failed += [] if seen.holds else [name]
    if failed:
        sys.exit(f"soak: {', '.join(failed)} not kept")


if __name__ == "__main__":
    main()
