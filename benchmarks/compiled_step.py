"""What torch.compile gains on a CPU: the step of the Hippocampus plan as it is, and compiled, in turn.

``python benchmarks/compiled_step.py [--threads 2] [--rounds 4]`` prints processor seconds of each step, and the medians
without the first, which compiles. The network is compiled with torch's own normalisation: the backward pass of nnbox's
own is traced for longer than anyone waits. Needs a C++ compiler. Figures: docs/training-engine.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from step_plans import HIPPOCAMPUS, batches, job

from nnbox.records.engine import NormKind
from nnbox.training.arithmetic import arithmetic
from nnbox.training.engine import settle_engine
from nnbox.training.learner import Learner

_RATE = 3e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        _compare(Path(scratch), arguments.rounds)


def _compare(folder: Path, rounds: int) -> None:
    own = replace(job(HIPPOCAMPUS, folder, device="cpu"), deterministic=True)
    engine, made = settle_engine(own), batches(HIPPOCAMPUS, 2)
    sides = {"as it is": Learner(own, engine), "compiled": Learner(own, replace(engine, norm=NormKind.PLAIN))}
    sides["compiled"].network = torch.compile(sides["compiled"].network)  # type: ignore[assignment]
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for step in range(rounds + 1):
        for name, learner in sides.items():
            began = time.process_time()
            with arithmetic(own):
                loss = learner.judge(learner.gradients(made[step % 2]))
                learner.step(_RATE)
            seconds[name].append(time.process_time() - began)
            print(f"step {step}, {name}: {seconds[name][-1]:.1f} s, loss {float(loss):.6f}", flush=True)
    for name, (first, *later) in seconds.items():
        print(f"{name}: median {median(later):.1f} s, the first step {first:.1f} s")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
