"""Seconds from the start of the process to the first convolution of the first tile, as an algorithm on the platform.

A plan is made from the published geometry of a Decathlon task, the networks get random weights, the image is noise of a
given size. Loading weights is timed apart. Reads ``../shared/reference/msd_fingerprints.json``.

    .venv/bin/python benchmarks/first_tile.py --task Task07_Pancreas --size 93x512x512 --spacing 2.5x0.8x0.8
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from nnbox.geometry import Grid
from nnbox.network.unet import build_network
from nnbox.records.handover import Handover
from nnbox.records.plan import NormalizationScheme
from nnbox.records.results import Selection
from nnbox.stages.planning import plan_from_file
from nnbox.submission.bundle import write_bundle
from nnbox.synthesize.files import write_metaimage

REPOSITORY = Path(__file__).resolve().parent.parent
WATCHED = """
import os, sys, time
ticks = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[19])
begun = ticks / os.sysconf("SC_CLK_TCK")
loading = 0.0
from nnbox.cli import main
import torch
import nnbox.stages.members as members
load = members.load_network

def timed(*words, **named):
    global loading
    before = time.monotonic()
    try:
        return load(*words, **named)
    finally:
        loading += time.monotonic() - before

def first(*words, **named):
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - begun
    busy = time.process_time()
    print(f"first convolution after {seconds:.2f} s, of which weights {loading:.2f} s; CPU {busy:.2f} s", flush=True)
    os._exit(0)

members.load_network = timed
for name in ("conv2d", "conv3d"):
    setattr(torch.nn.functional, name, first)
    setattr(torch, name, first)
sys.exit(main())
"""


def make_model(folder: Path, task: str, folds: int) -> int:
    """Write a bundle with a mapping; return its number of channels."""
    source = REPOSITORY.parent / "shared/reference/msd_fingerprints.json"
    _, plan = plan_from_file(source, task, "2019", None)
    scheme = NormalizationScheme.CT
    normalizations = tuple(
        replace(item, mean=100.0, sd=40.0, lower=-40.0, upper=200.0) if item.scheme is scheme else item
        for item in plan.normalizations
    )
    configuration = plan.configuration("3d_fullres")
    plan = replace(plan, trainable=True, why_not_trainable=None, normalizations=normalizations)
    selection = Selection(
        task=plan.task,
        candidate=configuration.name,
        members=(configuration.name,),
        folds={configuration.name: tuple(range(folds))},
        partial=False,
        mean_dice=None,
        mean_dice_per_label=(None,) * len(plan.labels),
        reason="made up",
        postprocessing=(),
        trials=(),
    )
    weights = {}
    for fold in range(folds):
        weights[configuration.name, fold] = folder / f"{fold}.safetensors"
        save_file(build_network(configuration.topology, fold).state_dict(), folder / f"{fold}.safetensors")
    slugs = tuple(f"image-{number}" for number in range(len(plan.channels)))
    values = tuple(range(1, len(plan.labels) + 1))
    handover = Handover(task=plan.task, input_slugs=slugs, output_slug="organ", label_values=values)
    write_bundle(folder / "model", plan, selection, weights, handover=handover)
    print(f"{plan.task}: patch {configuration.patch_size}, spacing {configuration.spacing_mm} mm, {folds} folds")
    return len(slugs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="Task07_Pancreas")
    parser.add_argument("--size", default="93x512x512", help="voxels, z x y x x")
    parser.add_argument("--spacing", default="2.5x0.8x0.8", help="mm, z x y x x")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    words = parser.parse_args()
    size = tuple(map(int, words.size.split("x")))
    spacing = tuple(map(float, words.spacing.split("x")))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        channels = make_model(folder, words.task, words.folds)
        grid = Grid(
            shape_vox=size,
            spacing_mm=spacing,
            origin_xyz_mm=(0.0, 0.0, 0.0),
            direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        )
        rng = np.random.default_rng(0)
        image = rng.integers(-1000, 1000, (1, *size), dtype=np.int16) // 16 * 16  # shrinks about as a CT does
        for number in range(channels):
            write_metaimage(folder / f"input/images/image-{number}/scan.mha", image, grid)
        folders = {"NNBOX_INPUT": "input", "NNBOX_OUTPUT": "output", "NNBOX_MODEL": "model"}
        environment = os.environ | {name: str(folder / value) for name, value in folders.items()}
        for _ in range(words.repeats):
            command = [sys.executable, "-c", WATCHED]
            ran = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
            print(ran.stdout.splitlines()[-1] if ran.returncode == 0 else ran.stdout + ran.stderr, flush=True)


if __name__ == "__main__":
    main()
