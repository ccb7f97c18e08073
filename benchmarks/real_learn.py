"""`make real-learn`: one network trained on real images must beat the shape that has seen no image.

Hippocampus, 3d_fullres, fold 0: all 208 training cases, 52 validation cases, through the ordinary command.
Then says what `--precision bf16` changes in the predictions of 20 of the latter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from mean_shape import learn, mean_dice
from precision import change, gather

from nnbox.imaging.io import read_labels

TASK = "Task04_Hippocampus"
EPOCHS, ITERATIONS = 5, 25
PRECISION_CASES = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/real-learn"))
    arguments = parser.parse_args()
    data, out = (arguments.data / TASK).resolve(), arguments.work.resolve()
    started = time.monotonic()
    command = [sys.executable, "-m", "nnbox", "train", "--input", str(data), "--output", str(out), "--device", "cpu"]
    command += ["--configurations", "3d_fullres", "--folds", "0"]
    command += ["--epochs", str(EPOCHS), "--iterations", str(ITERATIONS)]
    print("$", " ".join(command[1:]), flush=True)
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit("real-learn: the training failed")

    validation = json.loads((out / "folds.json").read_text())["validation"][0]
    labels = {
        path.name.removesuffix(".nii.gz"): read_labels(path)[0] for path in sorted((data / "labelsTr").glob("h*"))
    }
    shape = learn([labels[name] for name in labels if name not in validation], 2)
    baseline = mean_dice(shape, [labels[name] for name in validation])
    evidence = json.loads((out / "crossvalidation.json").read_text())
    found = evidence["candidates"][0]["mean_dice_per_label"]
    print("| 52 validation cases | anterior | posterior |\n|---|---|---|")
    print(f"| mean shape | {baseline[0]:.4f} | {baseline[1]:.4f} |")
    print(f"| 3d_fullres, {EPOCHS} epochs x {ITERATIONS} iterations | {found[0]:.4f} | {found[1]:.4f} |")
    print(f"real-learn: {time.monotonic() - started:.0f} s")
    work = out.with_name(f"{out.name}-precision")
    chosen = [data / "imagesTr" / f"{name}.nii.gz" for name in validation[:PRECISION_CASES]]
    print(change(out / "model", gather(chosen, work / "images"), work))
    if not all(ours > theirs for ours, theirs in zip(found, baseline, strict=True)):
        raise SystemExit("real-learn: the network does not exceed the mean shape on every label")


if __name__ == "__main__":
    main()
