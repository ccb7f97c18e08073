"""Rows of the training step on a card: against the peer's, the roofline, and itself with each speed-up switched off."""

from __future__ import annotations

from statistics import median

import roofline
import torch
from gpu_place import GpuPlace
from gpu_row import GpuRow, Measured, NotMeasured
from our_step import our_step, ready
from peer_network import maps_of_levels
from peer_trainer import peer_step
from step_plans import StepPlan, batches, configuration, job, topology

from nnbox.records.engine import EngineWishes, SpeedUp

PLANS = {"128-cubed": "128x128x128, batch 2, 6 levels", "hippocampus": "Hippocampus, 40x56x40, batch 9, 4 levels"}


def step_row(plan: str) -> GpuRow:
    return GpuRow(
        name=f"gpu/step-{plan}",
        job=f"one training step without augmentation, {PLANS[plan]}; median",
        reference="nnU-Net v2's step: fp16, compiled, deep supervision",
        target=3 if plan == "128-cubed" else None,
        needs_seconds=100,
        work=lambda place: _steps(place, place.plan(plan)),
    )


def switch_row(plan: str, speed_up: SpeedUp) -> GpuRow:
    return GpuRow(
        name=f"gpu/without-{speed_up}-{plan}",
        job=f"one training step without augmentation, {PLANS[plan]}; median",
        reference=f"the same with --without {speed_up}",
        needs_seconds=25,
        work=lambda place: _switch(place, place.plan(plan), speed_up),
    )


def compiled_row(plan: str) -> GpuRow:
    return GpuRow(
        name=f"gpu/compiled-{plan}",
        job=f"one training step without augmentation, {PLANS[plan]}; median",
        reference="the same with torch.compile in place of our kernels and CUDA graph",
        needs_seconds=100,
        work=lambda place: _compiled(place, place.plan(plan)),
        compiles_ours=True,
    )


def _compiled(place: GpuPlace, plan: StepPlan) -> Measured:
    if not place.may_compile:
        raise NotMeasured("a row was cut off before, which may have been a compilation")
    compiled, figures = our_steps(place, plan, (SpeedUp.FUSED_NORM, SpeedUp.KERNELS, SpeedUp.GRAPHS), compiled=True)
    ours, _ = our_steps(place, plan)
    return Measured(ours=ours, theirs=compiled, figures={f"{name} compiled": value for name, value in figures.items()})


def _switch(place: GpuPlace, plan: StepPlan, speed_up: SpeedUp) -> Measured:
    without, figures = our_steps(place, plan, (speed_up,))
    ours, _ = our_steps(place, plan)
    return Measured(ours=ours, theirs=without, figures={f"{name} without": value for name, value in figures.items()})


def _steps(place: GpuPlace, plan: StepPlan) -> Measured:
    ours, figures = our_steps(place, plan)
    place.ours[plan.name] = ours
    figures |= _against_floor(place, plan, median(ours))
    try:
        theirs, words = peer_steps(place, plan)
    except Exception as error:  # ours stands by itself
        return Measured(ours=ours, figures=figures, remark=f"theirs not measured: {type(error).__name__}: {error}")
    if place.on_card:
        figures["GB on the card, theirs"] = place.peak_gb()["GB on the card"]
    return Measured(ours=ours, theirs=theirs, figures=figures, reference=words)


def our_steps(
    place: GpuPlace, plan: StepPlan, without: tuple[SpeedUp, ...] = (), *, compiled: bool = False
) -> tuple[list[float], dict[str, float]]:
    """Return seconds of our steps on batches that are ready, and the card's peak memory.

    ``compiled`` has torch compile the network, which the product never does. Off a card it is only traced, since a
    machine without one may lack a compiler.
    """
    made = ready(batches(plan, 2), place.device)
    place.forget_peak()
    own = job(plan, place.folder / plan.name, device=place.device, engine=EngineWishes(without=without))
    with our_step(own) as step:
        if compiled:
            network = torch.compile(step.learner.network, backend="inductor" if place.on_card else "aot_eager")
            step.learner.network = network  # type: ignore[assignment]
        seconds = place.step_seconds(lambda number: step.take(made[number % 2]))
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
    compiles = place.on_card and place.may_compile
    failed = "" if compiles or not place.on_card else " (a row was cut off before, which may have been its compilation)"
    for compiled in (True, False) if compiles else (False,):
        step = peer_step(own, place.device, place.folder / "peer", compiled=compiled)
        try:
            with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
                seconds = place.step_seconds(lambda number, step=step: step.take(*made[number % 2]))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if not compiled:
                raise
            failed = f" (its compilation failed here: {type(error).__name__})"
            continue
        return seconds, step.words + failed
    raise NotMeasured("its step did not run")
