"""Rows of whole predictions against nnU-Net v2: the same network with the same random weights on both sides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from commands import peer_environment
from first_read import seconds_to_first_read
from row import Agreement, Pair, Places, Row, Timed

if TYPE_CHECKING:
    from nnbox.records.plan import ConfigurationPlan, Plan

_HERE = Path(__file__).resolve().parent
_TASK, _CASES = "Task04_Hippocampus", 20
_EQUAL = 0.97


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
        self.images, self.ours, self.theirs = work / "images", work / "ours", work / "theirs"
        self.images.mkdir(parents=True)
        source = places.data / _TASK / "imagesTr"
        for path in sorted(source.glob("hippo*.nii.gz"))[:_CASES]:
            # Copies: what is read through a link is not seen in its folder.
            shutil.copyfile(path, self.images / path.name.replace(".nii.gz", "_0000.nii.gz"))
        self._environment = peer_environment(places, work)
        self._python = places.peer / "python"
        self._models(work)
        self.our_words = ("predict", "--input", self.images, "--output", self.ours, "--device", "cpu")
        self.our_words += ("--model", work / "model")
        self.their_words = ("-i", self.images, "-o", self.theirs, "-m", work / "their_model", "-f", "0")
        self.their_words += ("-device", "cpu", "--disable_progress_bar")

    def run(self, who: str) -> dict[str, float]:
        """Run one side's command under the clock; return its two figures."""
        words, python = (self.our_words, sys.executable) if who == "ours" else (self.their_words, self._python)
        report = self.images.parent / f"{who}.json"
        command = [python, _HERE / "watched_predict.py", who, report, *words]
        subprocess.run(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        return json.loads(report.read_text())

    def first_read(self, who: str) -> float:
        if who == "ours":
            command = [Path(sys.executable).with_name("nnbox"), *self.our_words]
        else:
            command = [self._python.with_name("nnUNetv2_predict_from_modelfolder"), *self.their_words]
        return seconds_to_first_read(command, self.images, self._environment)

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
        state = _write_bundle(work, plan, configuration)
        np.savez(work / "weights.npz", **state)
        (work / "configuration.json").write_text(json.dumps(encode(configuration)))
        script = [self._python, _HERE / "peer_model.py", work / "configuration.json", work / "weights.npz"]
        subprocess.run([*script, work / "their_model"], env=self._environment, check=True)


def _write_bundle(work: Path, plan: Plan, configuration: ConfigurationPlan) -> dict[str, np.ndarray]:
    """Write a bundle of one network with random weights into ``work/model``; return the weights."""
    from safetensors.torch import save_file

    from nnbox.network.unet import build_network
    from nnbox.records.results import Selection
    from nnbox.submission.bundle import write_bundle

    selection = Selection(
        task=plan.task,
        candidate=configuration.name,
        members=(configuration.name,),
        folds={configuration.name: (0,)},
        partial=True,
        mean_dice=None,
        mean_dice_per_label=(None,) * len(plan.labels),
        reason="random weights",
        postprocessing=(),
        trials=(),
    )
    state = build_network(configuration.topology, seed=5).state_dict()
    save_file(state, work / "weights.safetensors")
    plan = replace(plan, trainable=True, why_not_trainable=None)
    write_bundle(work / "model", plan, selection, {(configuration.name, 0): work / "weights.safetensors"})
    return {name: tensor.numpy() for name, tensor in state.items()}


def _predict(places: Places) -> Pair:
    sides = _Sides(places, places.work / "predict")
    figures: dict[str, float] = {}

    def run(who: str) -> None:
        found = sides.run(who)
        figures[f"s of forward passes, {who}"] = found["forward"]
        figures[f"s to the first pass, {who}"] = found["first"]

    return Pair(
        reference=lambda: run("theirs"),
        ours=lambda: run("ours"),
        agree=lambda *_: _same_labels(sides),
        before=lambda: None,
        figures=lambda: figures,
    )


def _same_labels(sides: _Sides) -> Agreement:
    """Compare label maps: ours averages probabilities over mirrored passes, theirs averages what precedes them."""
    from nnbox.imaging.io import read_labels

    equal = voxels = 0
    for image in sorted(sides.images.iterdir()):
        name = image.name.replace("_0000.nii.gz", ".nii.gz")
        (theirs, _), (ours, _) = (read_labels(folder / name) for folder in (sides.theirs, _label_folder(sides.ours)))
        equal, voxels = equal + int((theirs == ours).sum()), voxels + theirs.size
    sides.clean()
    return Agreement(f"labels equal on {equal / voxels:.2%} of voxels", holds=equal / voxels >= _EQUAL)


def _label_folder(output: Path) -> Path:
    return next(output.rglob("*.nii.gz")).parent


def _first_read(places: Places) -> Pair:
    sides = _Sides(places, places.work / "first-read")
    return Pair(
        reference=lambda: Timed(sides.first_read("theirs")),
        ours=lambda: Timed(sides.first_read("ours")),
        before=sides.clean,
    )
