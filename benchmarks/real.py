"""`make real`: the whole line on subsets of two real data sets, on a CPU, with a tiny schedule.

It shows that every stage works on real images: MR and CT, isotropic and anisotropic, with and without a cascade. It
claims no quality: the schedule is far too short to learn.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from subset import make_subset


@dataclass(frozen=True)
class Run:
    """One data set's subset and how it is trained."""

    task: str
    cases: tuple[str, ...]
    test_cases: tuple[str, ...]
    options: tuple[str, ...]


RUNS = (
    Run(
        task="Task04_Hippocampus",
        cases=tuple(f"hippocampus_{number:03d}" for number in (1, 3, 4, 6, 7, 8, 11, 14, 243, 260)),
        test_cases=("hippocampus_118",),
        options=("--epochs", "2", "--iterations", "8"),
    ),
    # The smallest five cases, a cascade by way of a small card, one pass instead of eight mirrored ones, and two folds
    # (the first stage still has all five): with every fold this takes half an hour on two busy cores.
    Run(
        task="Task11_SarcomaCT",
        cases=("sts_008", "sts_012", "sts_019", "sts_024", "sts_025"),
        test_cases=("sts_032",),
        options=(
            "--epochs",
            "1",
            "--iterations",
            "3",
            "--planning-memory",
            "1",
            "--mirror-axes",
            "none",
            "--folds",
            "0,1",
        ),
    ),
)


def nnbox(*words: str) -> None:
    print("$ nnbox", *words, flush=True)
    code = subprocess.run([sys.executable, "-m", "nnbox", *words], check=False).returncode
    if code != 0:
        raise SystemExit(f"real: nnbox {words[0]} ended with exit code {code}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/real"))
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    for run in RUNS:
        started = time.monotonic()
        data, out = work / run.task, work / f"{run.task}-out"
        make_subset(arguments.data / run.task, data, run.cases, run.test_cases)
        nnbox("inspect", "--input", str(data))
        nnbox("train", "--input", str(data), "--output", str(out), "--device", "cpu", *run.options)
        archive = out / "submission" / f"{run.task}.zip"
        nnbox("check-submission", str(archive), "--input", str(data))
        print(f"real: {run.task} took {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
