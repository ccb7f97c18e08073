"""`make smoke-budget`: a run with a time budget ends within it, with every network trained to its schedule's end.

The whole line on the synthetic data of `make smoke`: four configurations, twenty networks. The run fails if it takes
more than 5 % over its budget or uses less than 80 % of it, if a network is missing, if a learning rate does not reach
its end, or if the archive does not pass its check.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from smoke import NETWORKS, PLANNING_MEMORY_GB, FailedError, nnbox, require, say

BUDGET = "6m"
BUDGET_SECONDS = 360.0
MOST_OVER = 1.05
LEAST_USED = 0.8
LAST_RATE = 1e-6


def check_networks(out: Path) -> None:
    results = [json.loads(path.read_text()) for path in sorted(out.glob("training/*/fold_*/result.json"))]
    weights = sorted(out.glob("training/*/fold_*/weights.safetensors"))
    require(len(results) == len(weights) == NETWORKS, f"{len(weights)} of {NETWORKS} networks are trained")
    steps = {
        f"{item['configuration']} fold {item['fold']}": item["epochs"] * item["iterations_per_epoch"]
        for item in results
    }
    say(f"steps per network: {min(steps.values())} to {max(steps.values())}")
    for name, count in steps.items():
        say(f"  {name}: {count}")
    for path in sorted(out.glob("training/*/fold_*/progress.csv")):
        with path.open() as stream:
            rates = [float(row["rate"]) for row in csv.DictReader(stream)]
        if rates != sorted(rates, reverse=True) or rates[-1] != pytest.approx(LAST_RATE):
            raise FailedError(f"{path}: the rate does not fall to {LAST_RATE:g}: {rates}")
    say(f"ok: the rate of every network falls to {LAST_RATE:g}")


def check_words(out: Path) -> None:
    plan = json.loads((out / "plan.json").read_text())
    subjects = {item["subject"]: item for item in plan["decisions"]}
    require(subjects["schedule"]["inputs"]["time_budget_seconds"] == BUDGET_SECONDS, "the plan names the time budget")
    log = (out / "log.jsonl").read_text().splitlines()
    layouts = [event for event in map(json.loads, log) if event["event"] == "layout"]
    require(len(layouts) == NETWORKS, f"the log has a layout for each of {len(layouts)} networks")
    say(layouts[0]["sentence"])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=Path("build/smoke-budget"))
    work = parser.parse_args().work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    data, out = work / "Task99_Smoke", work / "out"
    try:
        nnbox("synthesize", str(data), "--preset", "smoke")
        started = time.monotonic()
        nnbox(
            *("train", "--input", str(data), "--output", str(out), "--device", "cpu"),
            *("--planning-memory", PLANNING_MEMORY_GB, "--time-budget", BUDGET),
        )
        seconds = time.monotonic() - started
        used = f"{seconds:.0f} s of {BUDGET_SECONDS:.0f} s were used ({seconds / BUDGET_SECONDS:.1%})"
        require(LEAST_USED * BUDGET_SECONDS <= seconds <= MOST_OVER * BUDGET_SECONDS, used)
        check_networks(out)
        check_words(out)
        nnbox("check-submission", str(next((out / "submission").glob("*.zip"))), "--input", str(data))
    except FailedError as failure:
        say(f"FAILED: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
