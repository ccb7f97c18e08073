"""Our forward pass against OpenVINO's of the same network, float32, one thread: what docs/decisions/0007 rests on.

Needs an environment of its own (torch, numpy, safetensors, openvino) with this repository on its path. Prints one line
of JSON per network. Times are the processor's, so that what else the machine does matters less.

    PYTHONPATH=. OMP_NUM_THREADS=1 <environment>/bin/python benchmarks/openvino_forward.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import openvino
import torch

from nnbox.network.forward import Forward
from nnbox.network.unet import UNet, build_network
from nnbox.records.plan import Topology

_SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "PERFORMANCE_HINT": "LATENCY",
}
_NETWORKS = {
    "hippocampus": ((40, 56, 40), 1, (32, 64, 128, 256)),
    "hippocampus, batch 4": ((40, 56, 40), 4, (32, 64, 128, 256)),
    "128 cubed": ((128, 128, 128), 1, (32, 64, 128, 256, 320, 320)),
}


class _Unchecked(UNet):
    """The network without its check of the input, which cannot be traced."""

    def _check_input(self, image: torch.Tensor) -> None:
        return


class _Softmax(torch.nn.Module):
    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network(batch), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=_NETWORKS, help="one network")
    parser.add_argument("--repetitions", type=int, default=5)
    words = parser.parse_args()
    torch.set_num_threads(1)
    for name in [words.only] if words.only else _NETWORKS:
        print(json.dumps({"network": name, **_compared(*_NETWORKS[name], words.repetitions)}), flush=True)


def _compared(patch: tuple[int, ...], batch: int, features: tuple[int, ...], repetitions: int) -> dict[str, Any]:
    levels = len(features)
    topology = Topology(
        dimension=3,
        input_channels=1,
        classes=3,
        features=features,
        strides=((1,) * 3, *((2,) * 3,) * (levels - 1)),
        kernels=((3,) * 3,) * levels,
    )
    network = build_network(topology, 0).eval()
    ours = Forward(network).probabilities
    network.__class__ = _Unchecked
    coarse = torch.randn((batch, 1, *(size // 4 for size in patch)), generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, size=patch, mode="trilinear")
    converted = openvino.convert_model(_Softmax(network), example_input=image, input=[list(image.shape)])
    compiled = openvino.Core().compile_model(converted, "CPU", _SETTINGS)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    with torch.no_grad():
        first, second = ours(image).numpy(), compiled([image.numpy()])[0]
        for _ in range(repetitions):
            seconds["ours"].append(_seconds(lambda: ours(image)))
            seconds["theirs"].append(_seconds(lambda: compiled([image.numpy()])))
    own, other = (median(found) for found in seconds.values())
    return {
        "ours_seconds": round(own, 3),
        "openvino_seconds": round(other, 3),
        "ratio": round(own / other, 2),
        "labels_differ": float((first.argmax(1) != second.argmax(1)).mean()),
        "largest_difference": float(np.abs(first - second).max()),
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
