"""One fold in a process of its own, for `gpu_folds.py`: says when it is ready, and takes its steps when told to.

Protocol on its pipes: prints ``ready``; for every line it reads it takes its steps and prints the GB it has taken on
the card; it ends with its input.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import roofline
import torch
from our_step import feed, our_step
from step_plans import HIPPOCAMPUS, job, tiny


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--cases", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    plan = tiny(HIPPOCAMPUS) if arguments.quick else HIPPOCAMPUS
    own = replace(
        job(plan, arguments.home, device=arguments.device, workers=1, cases=arguments.cases), fold=arguments.fold
    )
    warm_up = 3
    own = replace(own, epochs=1, iterations=warm_up + 2 * arguments.steps)  # no batch of a validation in between
    on_card = torch.device(arguments.device).type == "cuda"
    with our_step(own) as step, feed(own, warm_up + 2 * arguments.steps) as batches:
        for _ in range(warm_up):
            step.take(next(batches))
        roofline.synchronize(arguments.device)
        print("ready", flush=True)
        for _line in sys.stdin:
            for _ in range(arguments.steps):
                step.take(next(batches))
            roofline.synchronize(arguments.device)
            print(torch.cuda.max_memory_reserved(arguments.device) / 1e9 if on_card else 0.0, flush=True)


if __name__ == "__main__":
    main()
