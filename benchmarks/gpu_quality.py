"""Dice after a short training on real cases, ours or the peer's: 2,500 steps a fold, three seeds for the first fold.

Run once per system, each within ``--minutes`` (9): first fold 0 with three seeds, then the other folds with the first
seed, for as long as they fit. Cases come from an archive of `export_prepared.py`; no image library is needed. Ours is
the product's own training (`train_fold`) with ten epochs of 250 steps. The peer's is its network, loss, optimiser and
rate ((1 - epoch / 10)^0.9, as its trainer has it for ten epochs) by `peer_trainer.py` where nnunetv2 is installed, else
by `peer_network.py`; it gets our augmented batches, so that the training is compared and not the augmentation. Both
are predicted alike: overlapping tiles, mirrored passes, on the prepared grid, which for these cases is that of the
images after cropping. Prints one table and writes ``results/quality/<date>-<card>-<system>.json``.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from gpu import find_libraries, use_few_cores

_HERE = Path(__file__).resolve().parent
RESULTS = _HERE / "results" / "quality"
_RESERVE_SECONDS, _MARGIN = 10.0, 1.15
_EPOCH_STEPS, _PEER_RATE, _PEER_POWER = 250, 1e-2, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all trainings share: the unpacked cases, the device, and the amounts."""

    prepared: Any
    device: str
    epochs: int
    epoch_steps: int
    workers: int
    cases: int | None
    folder: Path

    def job(self, fold: int, seed: int) -> Any:
        from nnbox.recipes import RECIPES
        from nnbox.training.job import TrainingJob

        plan, folds = self.prepared.plan, self.prepared.folds
        return TrainingJob(
            plan=plan,
            configuration=plan.configuration(self.prepared.configuration),
            recipe=RECIPES[plan.recipe],
            fold=fold,
            training_cases=folds.training(fold)[: self.cases],
            validation_cases=folds.validation[fold][: self.cases],
            store=self.prepared.store,
            previous_store=None,
            folder=self.folder / f"fold_{fold}_seed_{seed}",
            seed=seed,
            device=self.device,
            workers=self.workers,
            epochs=self.epochs,
            iterations=self.epoch_steps,
        )


def train_ours(task: Task, fold: int, seed: int) -> Any:
    """Train with the product's own loop and return the network."""
    from nnbox.inference.model import load_network
    from nnbox.training.loop import WEIGHTS_NAME, train_fold

    own = task.job(fold, seed)
    own.folder.mkdir(parents=True)
    train_fold(own, report=lambda _told: None)
    return load_network(own.folder / WEIGHTS_NAME, own.configuration.topology, task.device)


def train_peers(task: Task, fold: int, seed: int) -> Any:
    """Train the peer's network with its step and rate on our batches; return it with its finest output alone."""
    import torch
    from our_step import feed, on_host
    from peer_network import as_one_output, maps_of_levels
    from peer_trainer import peer_step

    own = task.job(fold, seed)
    torch.manual_seed(seed)
    compiled = torch.device(task.device).type == "cuda"
    step = peer_step(own.configuration, task.device, task.folder / "peer", compiled=compiled)
    topology = own.configuration.topology
    # Of each epoch's batches only those for training are taken.
    own = replace(own, epochs=1, iterations=task.epochs * task.epoch_steps)
    with feed(own, task.epochs * task.epoch_steps) as batches:
        for number, batch in enumerate(batches):
            epoch = number // task.epoch_steps
            step.set_rate(_PEER_RATE * (1 - epoch / task.epochs) ** _PEER_POWER)
            image, labels = on_host(batch)
            step.take(image, maps_of_levels(labels, topology, deep=True))
    return as_one_output(step.network, topology).to(task.device)


_SYSTEMS = {"ours": train_ours, "peer": train_peers}


def dice_of(network: Any, task: Task, fold: int) -> list[float]:
    """Return the mean Dice of each label over a fold's validation cases; cases without a label are left out of it."""
    import numpy as np

    from nnbox.inference.label_map import Part, label_map
    from nnbox.inference.predict import open_window
    from nnbox.inference.volume import Volume
    from nnbox.records.precision import Precision
    from nnbox.training.store import load_image, load_labels

    own = task.job(fold, 0)
    network.eval()
    window = open_window([network], own.configuration.patch_size, (0, 1, 2), task.device, Precision.AUTO)
    found: list[list[float]] = [[] for _ in own.plan.labels]
    for case in own.validation_cases:
        volume = Volume(np.array(load_image(own.store, case)))
        reference = load_labels(own.store, case)
        predicted = label_map([Part(window, volume, None)], volume.shape_vox)
        for label, dices in enumerate(found, start=1):
            dices.extend(dice(reference == label, predicted == label))
    return [mean(dices) if dices else float("nan") for dices in found]


def dice(reference: Any, predicted: Any) -> list[float]:
    """Return the Dice of two masks, or nothing where both are empty."""
    voxels = int(reference.sum()) + int(predicted.sum())
    return [2 * int((reference & predicted).sum()) / voxels] if voxels else []


def main() -> None:
    """Train one unit after the other for as long as they fit."""
    arguments = _arguments()
    began = time.monotonic()
    find_libraries(arguments.wheels)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    use_few_cores()  # before a library counts them
    import torch
    from export_prepared import unpacked

    if torch.device(arguments.device).type == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu_quality: no CUDA device here. What to do: run it on a machine with one.")
    ends_at = began + 60 * arguments.minutes - _RESERVE_SECONDS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        task = Task(
            prepared=unpacked(arguments.prepared, folder / "cases"),
            device=arguments.device,
            epochs=2 if arguments.quick else 10,
            epoch_steps=2 if arguments.quick else _EPOCH_STEPS,
            workers=0 if arguments.quick else 4,
            cases=2 if arguments.quick else None,
            folder=folder,
        )
        # A call that hangs hears nothing of Python's: then this ends the process, and what was measured is kept.
        faulthandler.dump_traceback_later(max(1.0, ends_at + _RESERVE_SECONDS / 2 - time.monotonic()), exit=True)
        run(task, arguments.system, units_of(arguments, task), ends_at, partial(_keep, arguments))
        faulthandler.cancel_dump_traceback_later()


def _keep(arguments: argparse.Namespace, units: list[dict[str, Any]]) -> None:
    """Print and write what was measured so far."""
    import torch

    on_card = torch.device(arguments.device).type == "cuda"
    card = torch.cuda.get_device_name(arguments.device) if on_card else "none (CPU)"
    document = summary(units, system=arguments.system, card=card, quick=arguments.quick)
    print(json.dumps(document["summary"]), flush=True)
    if arguments.out is not None or (on_card and not arguments.quick):
        write(document, arguments.out or RESULTS)


def units_of(arguments: argparse.Namespace, task: Task) -> list[tuple[int, int]]:
    """Return (fold, seed) in order: all seeds of the first fold, then the other folds."""
    if arguments.quick:
        return [(0, 0), (0, 1)]
    folds = len(task.prepared.folds.validation)
    return [*((0, seed) for seed in range(arguments.seeds)), *((fold, 0) for fold in range(1, folds))]


def run(
    task: Task,
    system: str,
    wanted: list[tuple[int, int]],
    ends_at: float,
    keep: Callable[[list[dict[str, Any]]], None],
) -> list[dict[str, Any]]:
    """Return what each unit gave; one that no longer fits, by what the longest one took, is left out and said to be.

    ``keep`` is told after each unit of all so far.
    """
    found, longest = [], 0.0
    for fold, seed in wanted:
        left = ends_at - time.monotonic()
        if left < _MARGIN * longest:
            print(f"fold {fold}, seed {seed}: not measured, {left:.0f} s were left", flush=True)
            continue
        began = time.monotonic()
        network = _SYSTEMS[system](task, fold, seed)
        trained = time.monotonic()
        values = [round(value, 5) for value in dice_of(network, task, fold)]
        longest = max(longest, time.monotonic() - began)
        unit = {"fold": fold, "seed": seed, "dice": values, "training_seconds": round(trained - began, 1)}
        print(f"{system}: {unit}", flush=True)
        found.append(unit)
        keep(found)
    return found


def summary(units: list[dict[str, Any]], *, system: str, card: str, quick: bool) -> dict[str, Any]:
    """Return everything: each unit, and per label the mean and spread over the seeds of fold 0 and over the folds."""
    from table import machine

    seeds = [unit["dice"] for unit in units if unit["fold"] == 0]
    folds = [unit["dice"] for unit in units if unit["seed"] == 0]
    return {
        "device": re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-"),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "machine": {**machine(), "card": card},
        "system": system,
        "quick": quick,
        "units": units,
        "summary": {"seeds of fold 0": spread(seeds), "folds with seed 0": spread(folds)},
    }


def spread(values: list[list[float]]) -> dict[str, Any]:
    """Return count, and per label mean and standard deviation (None of a single value)."""
    labels = list(zip(*values, strict=True))
    return {
        "count": len(values),
        "mean": [round(mean(label), 5) for label in labels],
        "sd": [round(stdev(label), 5) if len(label) > 1 else None for label in labels],
    }


def write(document: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['measured'][:10]}-{document['device']}-{document['system']}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, required=True, help="archive of export_prepared.py")
    parser.add_argument("--system", choices=sorted(_SYSTEMS), required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--seeds", type=int, default=3, help="of fold 0")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to import from")
    parser.add_argument("--quick", action="store_true", help="a few steps on a few cases: proves the paths")
    parser.add_argument("--out", type=Path, help="folder of the results instead of benchmarks/results/quality")
    return parser.parse_args()


if __name__ == "__main__":
    main()
