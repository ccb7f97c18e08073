"""The row of the prediction of a large volume on a card."""

from __future__ import annotations

import time

import roofline
import torch
from gpu_place import GpuPlace
from gpu_row import GpuRow, Measured
from step_plans import made_up, topology

from nnbox.records.precision import Precision


def prediction_row() -> GpuRow:
    return GpuRow(
        name="gpu/predict-512x512x482",
        job="a 512x512x482 volume in the host's memory to its label map there, 128x128x128 tiles, eight mirrored "
        "passes, one fold; the first case of a process, from moving the network to the card on; nothing is read, "
        "resampled or written",
        reference="–",
        limit_seconds=12,
        needs_seconds=60,
        work=_prediction,
    )


def _prediction(place: GpuPlace) -> Measured:
    """Time the first case of a process, and the second, for which algorithms are chosen and memory is at hand."""
    from nnbox.inference.label_map import Part, label_map
    from nnbox.inference.predict import open_window
    from nnbox.inference.volume import Volume
    from nnbox.network.unet import build_network

    plan, shape = place.plan("128-cubed"), place.amounts.volume
    image, _ = made_up(shape, 2, 0)
    built = build_network(topology(plan), 0)
    place.forget_peak()
    began = time.perf_counter()
    window = open_window([built.to(place.device).eval()], plan.patch, (0, 1, 2), place.device, Precision.AUTO)
    seconds = []
    for _ in range(2):
        found = label_map([Part(window, Volume(image), None)], shape)
        roofline.synchronize(place.device)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    assert found.shape == shape
    figures = {"s of the second case": seconds[1], "CPU threads": float(torch.get_num_threads()), **place.peak_gb()}
    return Measured(ours=seconds[:1], figures=figures, remark="no file is read or written, and nothing resampled")
