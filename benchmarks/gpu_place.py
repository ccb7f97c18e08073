"""What every GPU row is given: the device, the plans, how much is done, and how much time is left."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from roofline import Rates, synchronize
from step_plans import HIPPOCAMPUS, LARGE, StepPlan, tiny

EPOCH_STEPS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much is done: the real amounts, or a blink of each."""

    steps: int = 30
    warm_up: int = 8
    epoch: int = EPOCH_STEPS
    folds: int = 5
    fold_steps: int = 250
    cases: int = 4
    matrix: int = 8192
    copied_bytes: int = 2**30
    volume: tuple[int, int, int] = (482, 512, 512)


QUICK = Amounts(
    steps=2, warm_up=1, epoch=3, folds=2, fold_steps=2, cases=2, matrix=64, copied_bytes=2**16, volume=(20, 18, 24)
)


@dataclass(slots=True, kw_only=True)
class GpuPlace:
    """Where rows run.

    Attributes:
        device: as torch spells it.
        folder: scratch.
        quick: tiny plans and amounts: proves the paths, measures nothing.
        amounts: how much is done.
        ends_at: on the monotonic clock.
        rates: of the card, once measured.
        written: plans whose cases are there.
        peer: the peer's steps and what ran, per plan: what was compiled once is not compiled again.
        ours: our steps, per plan.
        may_compile: False once a row was cut off, which may have been a compilation.
    """

    device: str
    folder: Path
    quick: bool
    amounts: Amounts
    ends_at: float
    rates: Rates | None = None
    written: set[str] = field(default_factory=set)
    peer: dict[str, tuple[list[float], str]] = field(default_factory=dict)
    ours: dict[str, list[float]] = field(default_factory=dict)
    may_compile: bool = True

    @property
    def on_card(self) -> bool:
        return torch.device(self.device).type == "cuda"

    @property
    def left_seconds(self) -> float:
        return self.ends_at - time.monotonic()

    def plan(self, name: str) -> StepPlan:
        plan = {"128-cubed": LARGE, "hippocampus": HIPPOCAMPUS}[name]
        return tiny(plan) if self.quick else plan

    def home(self, plan: StepPlan) -> Path:
        """Return a folder with made-up prepared cases of a plan."""
        from step_plans import write_cases

        folder = self.folder / plan.name
        if plan.name not in self.written:
            write_cases(plan, folder, self.amounts.cases)
            self.written.add(plan.name)
        return folder

    def step_seconds(self, take: Callable[[int], object]) -> list[float]:
        """Return seconds of single steps, each waited for, after some that are not counted."""
        seconds = [
            self.seconds_of(lambda step=step: take(step)) for step in range(self.amounts.warm_up + self.amounts.steps)
        ]
        return seconds[self.amounts.warm_up :]

    def seconds_of(self, work: Callable[[], object]) -> float:
        """Return the seconds of some work that is waited for once, at its end."""
        synchronize(self.device)
        began = time.perf_counter()
        work()
        synchronize(self.device)
        return time.perf_counter() - began

    def card(self) -> dict[str, Any]:
        """Return what stands above the table."""
        if not self.on_card:
            return {"card": "none (CPU)", "torch": torch.__version__}
        found = torch.cuda.get_device_properties(self.device)
        return {
            "card": found.name,
            "memory_gb": round(found.total_memory / 1e9, 1),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "compiler": shutil.which("gcc") or shutil.which("cc") or "none",
        }

    def forget_peak(self) -> None:
        if self.on_card:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_gb(self) -> dict[str, float]:
        """Return the card's peak memory as torch took it; nothing on a CPU."""
        return {"GB on the card": torch.cuda.max_memory_reserved(self.device) / 1e9} if self.on_card else {}


class Utilisation:
    """How busy the card says it is, asked of its own tool several times a second; nothing without that tool."""

    def __init__(self, place: GpuPlace) -> None:
        tool = shutil.which("nvidia-smi") if place.on_card else None
        index = str(torch.device(place.device).index or 0)
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "200", "-i", index]
        self._command = None if tool is None else [tool, *query]
        self._found: list[float] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Utilisation:
        if self._command is not None:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._reader is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def forget(self) -> None:
        """Leave out what was heard so far: the warm-up."""
        self._found.clear()

    def figure(self) -> dict[str, float]:
        return {"% busy, says the card": mean(self._found)} if self._found else {}

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip().isdigit():
                self._found.append(float(line))
