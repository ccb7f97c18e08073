"""Rows of an epoch on a card, and of the loader alone."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from gpu_place import GpuPlace, Utilisation
from gpu_row import GpuRow, Measured
from gpu_steps import PLANS, our_steps, peer_steps
from our_step import feed, our_step, ready
from step_plans import StepPlan, batches, job

from nnbox.records.engine import AugmentationPath, EngineWishes, SpeedUp

_FEEDS = {
    "": EngineWishes(augmentation=AugmentationPath.GPU),
    "-mapped": EngineWishes(augmentation=AugmentationPath.GPU, without=(SpeedUp.RESIDENT,)),
    "-batchgenerators": EngineWishes(augmentation=AugmentationPath.CPU),
}


def epoch_row(plan: str) -> GpuRow:
    return GpuRow(
        name=f"gpu/epoch-{plan}",
        job=f"an epoch of 250 steps with augmentation, 4 CPU cores, {PLANS[plan]}",
        reference="250 of nnU-Net v2's steps on batches that are ready (it waits for no loader here)",
        target=3 if plan == "128-cubed" else None,
        limit_seconds=6 if plan == "128-cubed" else None,
        needs_seconds=60,
        work=lambda place: _epoch(place, place.plan(plan)),
    )


def loader_row(plan: str, kind: str) -> GpuRow:
    wishes = _FEEDS[kind]
    options = f"--augmentation {wishes.augmentation}" + "".join(f" --without {item}" for item in wishes.without)
    return GpuRow(
        name=f"gpu/loader-{plan}{kind}",
        job=f"time per augmented batch, no step taken, {options}, 4 CPU cores, {PLANS[plan]}",
        reference="our step on batches that are ready",
        target=None if kind else 1,
        needs_seconds=30,
        work=lambda place: _loader(place, place.plan(plan), wishes),
    )


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
    place.forget_peak()
    with our_step(own) as step:
        with feed(own, warm_up + count) as made, Utilisation(place) as busy:
            for _ in range(warm_up):
                step.take(next(made))
            busy.forget()
            seconds = place.seconds_of(lambda: [step.take(next(made)) for _ in range(count)])
        memory = place.peak_gb()
        still = ready(batches(plan, 2), place.device)
        plain = place.seconds_of(lambda: [step.take(still[number % 2]) for number in range(count)])
    return seconds, {"s without augmentation": plain, **busy.figure(), **memory}


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
        per_batch = place.seconds_of(lambda: [next(made) for _ in range(count)]) / count
    steps = place.ours.get(plan.name) or our_steps(place, plan)[0]
    return Measured(ours=[per_batch], theirs=steps, figures={"samples/s": plan.batch / per_batch})
