"""Run by the other tool's Python: training steps of its trainer and of ours, on the same batches, on this CPU.

* ``peer_step.py steps PLAN FOLDER deep|plain PRECISION ROUNDS`` times both in turn;
* ``agree PLAN FOLDER`` compares losses and gradients from the same weights;
* ``peak PLAN FOLDER ours|theirs PRECISION`` measures the memory of one side in a process of its own.

Each prints one line of JSON last. PLAN is ``hippocampus`` or ``tiny``, PRECISION that of ours.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from peer_network import RestatedStep, give_weights, maps_of_levels, same_gradients
from peer_trainer import TrainerStep
from resident import forget_peak, peak_mb, resident_mb
from step_plans import HIPPOCAMPUS, StepPlan, batches, configuration, job, tiny
from torch import Tensor

from nnbox.records.engine import EngineWishes
from nnbox.records.precision import Precision
from nnbox.training.arithmetic import arithmetic
from nnbox.training.job import TrainingJob
from nnbox.training.learner import Learner
from nnbox.training.sample import Batch

_PLANS = {"hippocampus": HIPPOCAMPUS, "tiny": tiny(HIPPOCAMPUS)}
_WARM_UP = 1


def main() -> None:
    what, plan, folder, *more = sys.argv[1:]
    work = {"steps": _steps, "agree": _agree, "peak": _peak}[what]
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet):  # the trainer says much
        found = work(_PLANS[plan], Path(folder), *more)
    print(json.dumps(found))


def _theirs(plan: StepPlan, folder: Path, *, deep: bool) -> TrainerStep:
    return TrainerStep(configuration(plan), "cpu", folder, deep=deep, compiled=False)


def _job(plan: StepPlan, folder: Path, precision: str) -> TrainingJob:
    """Return what a training on a CPU is given: there it is always deterministic."""
    own = job(plan, folder, device="cpu", engine=EngineWishes(precision=Precision(precision)))
    return replace(own, deterministic=True)


def _tensors(plan: StepPlan, count: int, *, deep: bool) -> list[tuple[Tensor, list[Tensor]]]:
    topology = configuration(plan).topology
    return [
        (torch.from_numpy(batch.image), maps_of_levels(torch.from_numpy(batch.labels), topology, deep=deep))
        for batch in batches(plan, count)
    ]


def _their_step(plan: StepPlan, folder: Path, *, deep: bool) -> Callable[[Any], None]:
    """Return its step on tensors, as its loader gives them. It compiles nothing on a CPU."""
    trainer = _theirs(plan, folder, deep=deep)

    def take(batch: tuple[Tensor, list[Tensor]]) -> None:
        trainer.take(*batch)

    return take


def _our_step(plan: StepPlan, folder: Path, precision: str) -> Callable[[Any], None]:
    """Return our step on a batch, as our loader gives it, with torch's switches as a training sets them."""
    product = _job(plan, folder, precision)
    learner = Learner(product)

    def take(batch: Batch) -> None:
        with arithmetic(product):
            learner.judge(learner.gradients(batch))
            learner.step(3e-4)

    return take


def _steps(plan: StepPlan, folder: Path, kind: str, precision: str, rounds: str) -> dict[str, list[float]]:
    deep = kind == "deep"
    theirs, ours = _their_step(plan, folder, deep=deep), _our_step(plan, folder, precision)
    own, made = batches(plan, 2), _tensors(plan, 2, deep=deep)
    found: dict[str, list[float]] = {name: [] for name in ("theirs", "ours", "theirs_cpu", "ours_cpu")}
    for step in range(int(rounds) + _WARM_UP):
        began = _clocks()
        theirs(made[step % 2])
        between = _clocks()
        ours(own[step % 2])
        ended = _clocks()
        if step >= _WARM_UP:
            for name, before, after in (("theirs", began, between), ("ours", between, ended)):
                found[name].append(after[0] - before[0])
                found[f"{name}_cpu"].append(after[1] - before[1])
    return found


def _clocks() -> tuple[float, float]:
    """Seconds on the wall, and of this process' work on all cores: the second one does not see who else is busy."""
    return time.perf_counter(), time.process_time()


def _agree(plan: StepPlan, folder: Path) -> dict[str, float]:
    """Return how far from the trainer's loss and gradients ours are, and from its losses those of the restated step."""
    ours = Learner(_job(plan, folder, "float32"))
    (image, labels), own = _tensors(plan, 1, deep=False)[0], batches(plan, 1)[0]
    theirs = _theirs(plan, folder, deep=False)
    give_weights(ours.network, theirs.network)
    wanted = theirs.trainer.loss(theirs.trainer.network(image), labels[0])
    wanted.backward()
    found = ours.gradients(own)
    answer = {
        "loss": abs(float(wanted.detach()) - float(found)),
        "gradient": same_gradients(ours.network, theirs.network),
    }
    maps = _tensors(plan, 1, deep=True)[0][1]
    trainer = _theirs(plan, folder, deep=True)
    restated = RestatedStep(configuration(plan).topology, "cpu", batch_dice=plan.batch_dice, deep=True, compiled=False)
    give_weights(ours.network, trainer.network)
    give_weights(ours.network, restated.network)
    for target, source in zip(restated.network.heads.parameters(), _heads(trainer), strict=True):
        torch.nn.init.constant_(target, 0.01)
        torch.nn.init.constant_(source, 0.01)
    losses = [trainer.take(image, maps) for _ in range(3)], [restated.take(image, maps) for _ in range(3)]
    answer["restated"] = max(abs(one - other) for one, other in zip(*losses, strict=True))
    return answer


def _heads(step: TrainerStep) -> list[Tensor]:
    return list(step.network.decoder.seg_layers.parameters())


def _peak(plan: StepPlan, folder: Path, who: str, precision: str) -> dict[str, float]:
    """Return MB: the process' peak while taking steps, and what it held before the network was made.

    Both sides take the same steps as in `_steps`. Tiny ones come first, so that what is loaded at the first is there.
    """
    _take_steps(tiny(plan), folder, who, precision)
    gc.collect()
    forget_peak()
    before = resident_mb()
    _take_steps(plan, folder, who, precision)
    return {"before_mb": before, "peak_mb": peak_mb()}


def _take_steps(plan: StepPlan, folder: Path, who: str, precision: str) -> None:
    theirs = who == "theirs"
    take = _their_step(plan, folder, deep=True) if theirs else _our_step(plan, folder, precision)
    made = _tensors(plan, 1, deep=True)[0] if theirs else batches(plan, 1)[0]
    for _ in range(2):  # the first one makes the optimiser's sums
        take(made)


if __name__ == "__main__":
    main()
