"""`make smoke`: the whole line on synthetic data, as a user runs it; fails unless the networks learned.

The thresholds were set once from the first runs and are frozen.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from mean_shape import dice, learn, mean_dice

from nnbox.imaging.io import read_labels

CROSS_VALIDATED_DICE = 0.80
MARGIN_OVER_FIXED_SHAPE = 0.20
TEST_DICE = 0.75
NETWORKS = 20
CONFIGURATIONS = ("2d", "3d_fullres", "3d_lowres", "3d_cascade")
PLANNING_MEMORY_GB = "0.007"
EPOCHS, ITERATIONS = "2", "60"


class FailedError(Exception):
    """A check of the smoke run did not hold."""


def say(sentence: str) -> None:
    sys.stdout.write(f"smoke: {sentence}\n")
    sys.stdout.flush()


def nnbox(*words: str) -> None:
    """Run a verb in a process of its own."""
    command = [sys.executable, "-m", "nnbox", *words]
    say("nnbox " + " ".join(words))
    finished = subprocess.run(command, check=False)
    if finished.returncode != 0:
        raise FailedError(f"nnbox {words[0]} ended with exit code {finished.returncode}")


def require(holds: bool, sentence: str) -> None:
    if not holds:
        raise FailedError(sentence)
    say(f"ok: {sentence}")


def train(data: Path, out: Path, *more: str, epochs: str = EPOCHS, iterations: str = ITERATIONS) -> None:
    nnbox(
        *("train", "--input", str(data), "--output", str(out), "--device", "cpu"),
        *("--planning-memory", PLANNING_MEMORY_GB, "--epochs", epochs, "--iterations", iterations, *more),
    )


def check_training(out: Path) -> None:
    plan = json.loads((out / "plan.json").read_text())
    planned = {item["name"] for item in plan["configurations"]}
    require(planned == set(CONFIGURATIONS), f"the plan has all four configurations: {sorted(planned)}")
    curves = sorted(out.glob("training/*/fold_*/progress.csv"))
    weights = sorted(out.glob("training/*/fold_*/weights.safetensors"))
    require(len(curves) == len(weights) == NETWORKS, f"{len(weights)} of {NETWORKS} networks are trained")
    for curve in curves:
        with curve.open() as stream:
            rows = list(csv.DictReader(stream))
        first, last = float(rows[0]["training_loss"]), float(rows[-1]["training_loss"])
        if not last < first:
            raise FailedError(f"{curve}: the loss does not fall ({first:.3f} -> {last:.3f})")
    say("ok: every loss curve falls")


def reference_maps(folder: Path, values: list[int]) -> dict[str, np.ndarray]:
    """Read label maps as consecutive labels."""
    found = {}
    for path in sorted(folder.glob("*.nii.gz")):
        stored, _ = read_labels(path)
        found[path.name] = np.searchsorted([0, *values], stored)
    return found


def check_quality(data: Path, references: Path, out: Path) -> None:
    plan = json.loads((out / "plan.json").read_text())
    values = [label["value"] for label in plan["labels"]]
    folds = json.loads((out / "folds.json").read_text())["validation"]
    labels = reference_maps(data / "labelsTr", values)
    fixed = []
    for held_out in folds:
        kept = [item for name, item in labels.items() if name.removesuffix(".nii.gz") not in held_out]
        shape = learn(kept, len(values))
        fixed.append(mean_dice(shape, [labels[f"{name}.nii.gz"] for name in held_out]))
    baseline = np.mean(fixed, axis=0)
    selection = json.loads((out / "selection.json").read_text())
    found = np.array(selection["mean_dice_per_label"], dtype=float)
    say(f"selected {selection['candidate']}: Dice {found.round(3).tolist()}, fixed shape {baseline.round(3).tolist()}")
    require(bool((found >= CROSS_VALIDATED_DICE).all()), f"cross-validated Dice >= {CROSS_VALIDATED_DICE} per label")
    margin = MARGIN_OVER_FIXED_SHAPE
    require(bool((found >= baseline + margin).all()), f"Dice at least {margin} above the best fixed shape")
    check_test_images(references, out, values)


def check_test_images(references: Path, out: Path, values: list[int]) -> None:
    wanted = reference_maps(references, values)
    predicted = reference_maps(out / "predictions", values)
    require(set(wanted) == set(predicted), f"{len(predicted)} test images are predicted under their own names")
    for label in range(1, len(values) + 1):
        mean = float(np.mean([dice(wanted[name] == label, predicted[name] == label) for name in wanted]))
        require(mean >= TEST_DICE, f"test Dice of label {values[label - 1]} is {mean:.3f}, at least {TEST_DICE}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=Path("build/smoke"))
    work = parser.parse_args().work.resolve()
    started = time.monotonic()
    shutil.rmtree(work, ignore_errors=True)
    data, out = work / "Task99_Smoke", work / "out"
    try:
        nnbox("synthesize", str(data), "--preset", "smoke")
        train(data, out)
        check_training(out)
        check_quality(data, work / "Task99_Smoke-references" / "labelsTs", out)
        archive = next((out / "submission").glob("*.zip"))
        nnbox("check-submission", str(archive), "--input", str(data))
    except FailedError as failure:
        say(f"FAILED: {failure}")
        return 1
    say(f"passed in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
