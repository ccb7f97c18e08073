"""Rows of whole predictions against nnU-Net v2: the same network with the same random weights on both sides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from bundles import write_random_bundle
from commands import peer_environment
from first_read import seconds_to_first_read
from row import Agreement, Pair, Places, Row, Timed

_HERE = Path(__file__).resolve().parent
_TASK, _CASES = "Task04_Hippocampus", 20
_EQUAL = 0.999
_MOSTLY_CONVOLUTIONS = (
    "Nine tenths of our time are forward passes, and 88 % of those are convolutions of oneDNN, at 73 of the 90 GFLOP/s "
    "that a matrix product of one thread reaches here. Tried to do less arithmetic: Winograd's F(4,3) along one axis "
    "took 64 ms instead of 59 ms at the first level (30 features, 40x56x40), 0.6 to 1.0 times as long further down, at "
    "three times the rounding error; left out"
)


def rows(places: Places) -> list[Row]:
    return [
        Row(
            name="command/predict",
            job=f"predict, {_CASES} Hippocampus cases, one fold, mirroring, on the CPU, whole command",
            reference="nnUNetv2_predict_from_modelfolder, the same network and weights, its own numbers of processes",
            target=2,
            prepare=lambda: _predict(places),
            repetitions=2,
            threads=None,
            warm_up=False,
            needs_peer=True,
            remark=_MOSTLY_CONVOLUTIONS,
        ),
        Row(
            name="command/first-read",
            job="nnbox predict up to the first read of an image",
            reference="nnUNetv2_predict_from_modelfolder",
            target=2,
            prepare=lambda: _first_read(places),
            repetitions=5,
            threads=None,
            needs_peer=True,
        ),
    ]


class _Sides:
    """Images, both models, and the two commands."""

    def __init__(self, places: Places, work: Path) -> None:
        assert places.peer is not None
        shutil.rmtree(work, ignore_errors=True)
        self.work, self.images, self.ours, self.theirs = work, work / "images", work / "ours", work / "theirs"
        self.images.mkdir(parents=True)
        source = places.data / _TASK / "imagesTr"
        for path in sorted(source.glob("hippo*.nii.gz"))[:_CASES]:
            # Copies: what is read through a link is not seen in its folder.
            shutil.copyfile(path, self.images / path.name.replace(".nii.gz", "_0000.nii.gz"))
        self._environment = peer_environment(places, work)
        self._python = places.peer / "python"
        self._models(work)

    def agreement(self) -> Agreement:
        """Compare the label maps of both commands on two images without mirroring.

        With mirroring they are not the same: ours averages probabilities, theirs averages what precedes them.
        """
        from nnbox.imaging.io import read_labels

        two = self.images.with_name("two")
        two.mkdir()
        for path in sorted(self.images.iterdir())[:2]:
            (two / path.name).symlink_to(path)
        self.run("ours", two, "--no-mirroring")
        self.run("theirs", two, "--disable_tta")
        equal = voxels = 0
        for path in sorted(self.theirs.glob("*.nii.gz")):
            theirs, ours = (read_labels(found)[0] for found in (path, next(self.ours.rglob(path.name))))
            equal, voxels = equal + int((theirs == ours).sum()), voxels + theirs.size
        self.clean()
        words = f"without mirroring labels equal on {equal / voxels:.3%} of voxels"
        return Agreement(words, holds=equal / voxels >= _EQUAL)

    def run(self, who: str, images: Path, *more: str) -> dict[str, float]:
        """Run one side's command under the clock; return its two figures."""
        report = self.work / f"{who}.json"
        python = sys.executable if who == "ours" else self._python
        command = [python, _HERE / "watched_predict.py", who, report, *self._words(who, images), *more]
        log = subprocess.DEVNULL
        subprocess.run(command, env=self._environment, stdout=log, stderr=log, check=True)
        found: dict[str, float] = json.loads(report.read_text())
        return found

    def first_read(self, who: str) -> float:
        """Start one side's command as a shell does; return the seconds to its first read of an image."""
        program = self._python.with_name("nnUNetv2_predict_from_modelfolder")
        if who == "ours":
            program = Path(sys.executable).with_name("nnbox")
        command = [program, *self._words(who, self.images)]
        return seconds_to_first_read(command, self.images, self._environment)

    def _words(self, who: str, images: Path) -> list[str | Path]:
        if who == "ours":
            words: list[str | Path] = ["predict", "--input", images, "--output", self.ours]
            return [*words, "--model", self.work / "model", "--device", "cpu"]
        words = ["-i", images, "-o", self.theirs, "-m", self.work / "their_model", "-f", "0"]
        return [*words, "-device", "cpu", "--disable_progress_bar"]

    def clean(self) -> None:
        for folder in (self.ours, self.theirs):
            shutil.rmtree(folder, ignore_errors=True)
        os.sync()

    def _models(self, work: Path) -> None:
        from nnbox.records.codec import encode
        from nnbox.stages.planning import plan_from_file

        fingerprints = _HERE.parent.parent / "shared/reference/msd_fingerprints.json"
        _, plan = plan_from_file(fingerprints, _TASK, "2019", None)
        configuration = plan.configuration("3d_fullres")
        state = write_random_bundle(work, plan, configuration)
        np.savez(work / "weights.npz", **state)
        (work / "configuration.json").write_text(json.dumps(encode(configuration)))
        script = [self._python, _HERE / "peer_model.py", work / "configuration.json", work / "weights.npz"]
        subprocess.run([*script, work / "their_model"], env=self._environment, check=True)


def _predict(places: Places) -> Pair:
    sides = _Sides(places, places.work / "predict")
    agreement = sides.agreement()
    figures: dict[str, float] = {}

    def run(who: str) -> None:
        found = sides.run(who, sides.images)
        figures[f"s of forward passes, {who}"] = found["forward"]
        figures[f"s to the first pass, {who}"] = found["first"]

    return Pair(
        reference=lambda: run("theirs"),
        ours=lambda: run("ours"),
        agree=lambda *_: agreement,
        before=sides.clean,
        figures=lambda: figures,
    )


def _first_read(places: Places) -> Pair:
    sides = _Sides(places, places.work / "first-read")
    return Pair(
        reference=lambda: Timed(sides.first_read("theirs")),
        ours=lambda: Timed(sides.first_read("ours")),
        before=sides.clean,
    )
