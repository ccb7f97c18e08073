"""What `--precision bf16` changes in the label maps of real images, against float32; both through `nnbox predict`.

``precision.py --model BUNDLE --images FOLDER [--cases 20]``: the network should have learned something, as that of
`make real-learn` has: where it is undecided, rounding decides more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnbox.imaging.io import read_labels

PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between two sets of label maps.

    Attributes:
        cases: how many images.
        voxels: share of all voxels.
        worst_case: the largest share of a case.
        foreground: voxels that differ, as a share of those that are foreground in either.
    """

    cases: int
    voxels: float
    worst_case: float
    foreground: float

    def __str__(self) -> str:
        return (
            f"bf16 against float32, {self.cases} cases: {self.voxels:.2e} of voxels differ ({self.worst_case:.2e} in "
            f"the worst case), {self.foreground:.2e} of the foreground"
        )


def change(model: Path, images: Path, work: Path) -> Change:
    """Predict a folder of images twice, with all mirrored passes, and compare."""
    for precision in PRECISIONS:
        output = work / precision
        shutil.rmtree(output, ignore_errors=True)
        command = [sys.executable, "-m", "nnbox", "predict", "--input", str(images), "--output", str(output)]
        command += ["--model", str(model), "--device", "cpu", "--precision", precision]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    differ, sizes, foreground = [], [], []
    for path in sorted((work / PRECISIONS[0] / "predictions").glob("*.nii.gz")):
        one, other = (read_labels(work / precision / "predictions" / path.name)[0] for precision in PRECISIONS)
        differ.append(int(np.count_nonzero(one != other)))
        sizes.append(one.size)
        foreground.append(int(np.count_nonzero((one != 0) | (other != 0))))
    return Change(
        len(sizes),
        sum(differ) / sum(sizes),
        max(part / whole for part, whole in zip(differ, sizes, strict=True)),
        sum(differ) / max(1, sum(foreground)),
    )


def gather(images: list[Path], folder: Path) -> Path:
    """Copy images into a new flat folder: what is read through a link is not seen in its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in images:
        shutil.copyfile(path, folder / path.name.replace(".nii.gz", "_0000.nii.gz"))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="bundle: the folder model of a run")
    parser.add_argument("--images", type=Path, required=True, help="folder of one-channel images (.nii.gz)")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("build/precision"))
    arguments = parser.parse_args()
    chosen = sorted(path for path in arguments.images.glob("*.nii.gz") if not path.name.startswith("."))
    images = gather(chosen[: arguments.cases], arguments.work / "images")
    print(change(arguments.model, images, arguments.work))


if __name__ == "__main__":
    main()
