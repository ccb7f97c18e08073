"""The rows of `gpu.py`: what each measures, against what, and with which target.

A row that cannot be measured where it runs raises `NotMeasured` with the reason; the table then says so.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import roofline
import torch
from gpu_place import GpuPlace, Utilisation
from our_step import feed, our_step, ready
from peer_network import RestatedStep, maps_of_levels
from step_plans import StepPlan, batches, configuration, job, made_up, topology

from nnbox.records.engine import AugmentationPath, EngineWishes, SpeedUp

_FOLD_SCRIPT = Path(__file__).resolve().parent / "gpu_fold.py"
_OF_THE_FEED = SpeedUp.RESIDENT  # a step on batches that are ready does not see it
_PLANS = {"128-cubed": "128x128x128, batch 2, 6 levels", "hippocampus": "Hippocampus, 40x56x40, batch 9, 4 levels"}


class NotMeasured(Exception):  # noqa: N818 - it is no error
    """Why a figure is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a row found; ``reference`` and ``remark`` may say more than the row knew before."""

    ours: list[float]
    theirs: list[float] | None = None
    figures: dict[str, float] = field(default_factory=dict)
    reference: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow:
    """One line of the GPU table.

    Attributes:
        name, job, reference: as in `row.Row`.
        target: the wanted ratio of theirs to ours, or None.
        limit_seconds: the wanted most of ours, or None.
        needs_seconds: time that must be left for it to be begun, compilation included.
        work: measures it.
    """

    name: str
    job: str
    reference: str
    target: float | None = None
    limit_seconds: float | None = None
    needs_seconds: float
    work: Callable[[GpuPlace], Measured]


def rows() -> list[GpuRow]:
    """Return the rows, the most wanted first."""
    found = []
    for plan in _PLANS:
        found += [_step_row(plan), _epoch_row(plan)]
    found += [_prediction_row(), *(_loader_row(plan, "") for plan in _PLANS), _folds_row()]
    found += [_switch_row(plan, speed_up) for plan in _PLANS for speed_up in SpeedUp if speed_up is not _OF_THE_FEED]
    return [*found, *(_loader_row(plan, kind) for kind in ("-mapped", "-batchgenerators") for plan in _PLANS)]


def _step_row(plan: str) -> GpuRow:
    return GpuRow(
        name=f"gpu/step-{plan}",
        job=f"one training step without augmentation, {_PLANS[plan]}; median",
        reference="nnU-Net v2's step: fp16, compiled, deep supervision",
        target=3 if plan == "128-cubed" else None,
        needs_seconds=100,
        work=lambda place: _steps(place, place.plan(plan)),
    )


def _epoch_row(plan: str) -> GpuRow:
    return GpuRow(
        name=f"gpu/epoch-{plan}",
        job=f"an epoch of 250 steps with augmentation, 4 CPU cores, {_PLANS[plan]}",
        reference="250 of nnU-Net v2's steps on batches that are ready (it waits for no loader here)",
        target=3 if plan == "128-cubed" else None,
        limit_seconds=6 if plan == "128-cubed" else None,
        needs_seconds=60,
        work=lambda place: _epoch(place, place.plan(plan)),
    )


_FEEDS = {
    "": EngineWishes(augmentation=AugmentationPath.GPU),
    "-mapped": EngineWishes(augmentation=AugmentationPath.GPU, without=(SpeedUp.RESIDENT,)),
    "-batchgenerators": EngineWishes(augmentation=AugmentationPath.CPU),
}


def _loader_row(plan: str, kind: str) -> GpuRow:
    wishes = _FEEDS[kind]
    options = f"--augmentation {wishes.augmentation}" + "".join(f" --without {item}" for item in wishes.without)
    return GpuRow(
        name=f"gpu/loader-{plan}{kind}",
        job=f"time per augmented batch, no step taken, {options}, 4 CPU cores, {_PLANS[plan]}",
        reference="our step on batches that are ready",
        target=None if kind else 1,
        needs_seconds=30,
        work=lambda place: _loader(place, place.plan(plan), wishes),
    )


def _switch_row(plan: str, speed_up: SpeedUp) -> GpuRow:
    return GpuRow(
        name=f"gpu/without-{speed_up}-{plan}",
        job=f"one training step without augmentation, {_PLANS[plan]}; median",
        reference=f"the same with --without {speed_up}",
        needs_seconds=25,
        work=lambda place: _switch(place, place.plan(plan), speed_up),
    )


def _switch(place: GpuPlace, plan: StepPlan, speed_up: SpeedUp) -> Measured:
    without, figures = _our_steps(place, plan, (speed_up,))
    ours, _ = _our_steps(place, plan)
    return Measured(ours=ours, theirs=without, figures={f"{name} without": value for name, value in figures.items()})


def _folds_row() -> GpuRow:
    return GpuRow(
        name="gpu/folds-hippocampus",
        job="five Hippocampus folds side by side, 250 steps each with augmentation, one process each",
        reference="the same processes one after the other",
        target=4,
        needs_seconds=90,
        work=_folds,
    )


def _prediction_row() -> GpuRow:
    return GpuRow(
        name="gpu/predict-512x512x482",
        job="label map of a 512x512x482 volume in memory, 128x128x128 tiles, eight mirrored passes, one fold",
        reference="–",
        limit_seconds=12,
        needs_seconds=60,
        work=_prediction,
    )


def _timed(place: GpuPlace, take: Callable[[int], object]) -> list[float]:
    """Return seconds of single steps, each waited for, after some that are not counted."""
    seconds = []
    for step in range(place.amounts.warm_up + place.amounts.steps):
        roofline.synchronize(place.device)
        began = time.perf_counter()
        take(step)
        roofline.synchronize(place.device)
        seconds.append(time.perf_counter() - began)
    return seconds[place.amounts.warm_up :]


def _steps(place: GpuPlace, plan: StepPlan) -> Measured:
    ours, figures = _our_steps(place, plan)
    figures |= _against_floor(place, plan, median(ours))
    theirs, words = peer_steps(place, plan)
    if place.on_card:
        figures["GB on the card, theirs"] = place.peak_gb()["GB on the card"]
    return Measured(ours=ours, theirs=theirs, figures=figures, reference=words)


def _our_steps(
    place: GpuPlace, plan: StepPlan, without: tuple[SpeedUp, ...] = ()
) -> tuple[list[float], dict[str, float]]:
    made = ready(batches(plan, 2), place.device)
    place.forget_peak()
    own = job(plan, place.folder / plan.name, device=place.device, engine=EngineWishes(without=without))
    with our_step(own) as step:
        seconds = _timed(place, lambda number: step.take(made[number % 2]))
        figures = place.peak_gb()
        print(f"  {step.learner.engine.sentence}", flush=True)
    return seconds, figures


def _against_floor(place: GpuPlace, plan: StepPlan, seconds: float) -> dict[str, float]:
    """Return the counted work, and what share of the card's measured rates a step makes of it."""
    if place.rates is None:
        return {}
    bytes_per_value = 2 if place.on_card else 4
    work = roofline.training_step(topology(plan), plan.patch, plan.batch, bytes_per_value)
    floor = roofline.floor_seconds(work, place.rates)
    return {
        "TFLOP counted": roofline.operations(work) / 1e12,
        "GB counted": roofline.moved_bytes(work) / 1e9,
        "ms roofline": floor * 1e3,
        "% of the roofline": 100 * floor / seconds,
        "% of the matrix rate": 100 * roofline.operations(work) / seconds / place.rates.operations_per_second,
    }


def peer_steps(place: GpuPlace, plan: StepPlan) -> tuple[list[float], str]:
    """Time the peer's step, once per plan; the card's peak memory is then that of the peer."""
    if plan.name not in place.peer:
        place.peer[plan.name] = _measured_peer(place, plan)
    return place.peer[plan.name]


def _measured_peer(place: GpuPlace, plan: StepPlan) -> tuple[list[float], str]:
    """Time its trainer's step where it is installed, else the restated one; compiled if that works here."""
    own = configuration(plan)
    made = [
        (
            torch.from_numpy(batch.image),
            maps_of_levels(torch.from_numpy(batch.labels), own.topology, deep=True),
        )
        for batch in batches(plan, 2)
    ]
    if place.on_card:  # its loader gives pinned arrays
        made = [(image.pin_memory(), [one.pin_memory() for one in maps]) for image, maps in made]
    place.forget_peak()
    failed = ""
    for compiled in (True, False) if place.on_card else (False,):
        step = _peer_step(place, plan, compiled=compiled)
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
                seconds = _timed(place, lambda number, step=step: step.take(*made[number % 2]))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if not compiled:
                raise
            failed = f" (its compilation failed here: {type(error).__name__})"
            continue
        return seconds, step.words + failed
    raise NotMeasured("its step did not run")


def _peer_step(place: GpuPlace, plan: StepPlan, *, compiled: bool) -> Any:
    own = configuration(plan)
    if importlib.util.find_spec("nnunetv2") is not None:
        from peer_trainer import TrainerStep

        return TrainerStep(own, place.device, place.folder / "peer", deep=True, compiled=compiled)
    return RestatedStep(own.topology, place.device, batch_dice=plan.batch_dice, deep=True, compiled=compiled)


def _epoch(place: GpuPlace, plan: StepPlan) -> Measured:
    ours, figures = _our_epoch(place, plan)
    theirs, words = peer_steps(place, plan)
    count = place.amounts.epoch
    return Measured(
        ours=[ours],
        theirs=[count * median(theirs)],
        figures=figures,
        reference=f"{count} x the median of {words}, which waits for no loader here",
    )


def _our_epoch(place: GpuPlace, plan: StepPlan) -> tuple[float, dict[str, float]]:
    """Return the seconds of an epoch as trained; and of one on batches that are ready, with how busy the card was."""
    count, warm_up = place.amounts.epoch, place.amounts.warm_up
    own = job(plan, place.home(plan), device=place.device, workers=_workers(place), cases=place.amounts.cases)
    own = replace(own, epochs=1, iterations=warm_up + count)  # no batch of a validation among them
    with our_step(own) as step:
        with feed(own, warm_up + count) as made, Utilisation(place) as busy:
            for _ in range(warm_up):
                step.take(next(made))
            seconds = _together(place, lambda: [step.take(next(made)) for _ in range(count)])
        still = ready(batches(plan, 2), place.device)
        plain = _together(place, lambda: [step.take(still[number % 2]) for number in range(count)])
    return seconds, {"s without augmentation": plain, **busy.figure()}


def _together(place: GpuPlace, work: Callable[[], object]) -> float:
    """Return the seconds of some work that is waited for once, at its end."""
    roofline.synchronize(place.device)
    began = time.perf_counter()
    work()
    roofline.synchronize(place.device)
    return time.perf_counter() - began


def _workers(place: GpuPlace) -> int:
    return 1 if place.quick else 4


def _loader(place: GpuPlace, plan: StepPlan, wishes: EngineWishes) -> Measured:
    count = 4 * _workers(place) if place.quick else 100
    own = job(
        plan,
        place.home(plan),
        device=place.device,
        workers=_workers(place),
        cases=place.amounts.cases,
        engine=wishes,
    )
    with feed(own, 2 * count) as made:
        for _ in range(count):
            next(made)
        per_batch = _together(place, lambda: [next(made) for _ in range(count)]) / count
    steps, _ = _our_steps(place, plan)
    return Measured(ours=[per_batch], theirs=steps, figures={"samples/s": plan.batch / per_batch})


def _folds(place: GpuPlace) -> Measured:
    plan = place.plan("hippocampus")
    home, amounts = place.home(plan), place.amounts
    command = [sys.executable, str(_FOLD_SCRIPT), "--device", place.device, "--home", str(home)]
    command += ["--cases", str(amounts.cases), "--steps", str(amounts.fold_steps), *(["--quick"] * place.quick)]
    folds = [
        subprocess.Popen([*command, "--fold", str(fold)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for fold in range(amounts.folds)
    ]
    try:
        for fold in folds:
            _answer(fold)
        alone = []
        for fold in folds:
            began = time.perf_counter()
            _ask(fold)
            _answer(fold)
            alone.append(time.perf_counter() - began)
        began = time.perf_counter()
        for fold in folds:
            _ask(fold)
        peaks = [float(_answer(fold)) for fold in folds]
        together = time.perf_counter() - began
    finally:
        for fold in folds:
            fold.kill()
            fold.communicate()
    figures = {"folds": float(amounts.folds), "GB on the card, all": sum(peaks)}
    return Measured(ours=[together], theirs=[sum(alone)], figures=figures)


def _ask(fold: subprocess.Popen[str]) -> None:
    assert fold.stdin is not None
    fold.stdin.write("go\n")
    fold.stdin.flush()


def _answer(fold: subprocess.Popen[str]) -> str:
    assert fold.stdout is not None
    line = fold.stdout.readline()
    if not line:
        raise NotMeasured(f"a fold ended with exit code {fold.wait()}")
    return line


def _prediction(place: GpuPlace) -> Measured:
    from nnbox.inference.label_map import Part, label_map
    from nnbox.inference.predict import open_window
    from nnbox.inference.volume import Volume
    from nnbox.network.unet import build_network
    from nnbox.records.precision import Precision

    plan, shape = place.plan("128-cubed"), place.amounts.volume
    image, _ = made_up(shape, 2, 0)
    network = build_network(topology(plan), 0).to(place.device).eval()
    window = open_window([network], plan.patch, (0, 1, 2), place.device, Precision.AUTO)
    seconds = []
    place.forget_peak()
    for _ in range(2):  # the first one also chooses algorithms
        began = time.perf_counter()
        found = label_map([Part(window, Volume(image), None)], shape)
        roofline.synchronize(place.device)
        seconds.append(time.perf_counter() - began)
    assert found.shape == shape
    figures = {**place.peak_gb(), "s the first time": seconds[0]}
    return Measured(ours=seconds[1:], figures=figures, remark="from the prepared array to the label map in memory")
