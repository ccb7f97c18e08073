"""What a user asked for on the command line, as records."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nnbox.errors import UsageError
from nnbox.intake.options import IntakeOptions
from nnbox.records.engine import EngineWishes
from nnbox.records.precision import Precision


class Until(StrEnum):
    """The stage after which ``train`` stops (``--until``)."""

    INTAKE = "intake"
    PLAN = "plan"
    PREPROCESS = "preprocess"
    TRAIN = "train"
    SELECT = "select"
    PREDICT = "predict"

    @property
    def needs_networks(self) -> bool:
        """Whether networks are computed before the run stops there."""
        return self not in {Until.INTAKE, Until.PLAN, Until.PREPROCESS}


def parse_until(word: str | None) -> Until | None:
    """Return the stage of ``--until``.

    Raises:
        UsageError: no such stage.
    """
    if word is None:
        return None
    try:
        return Until(word)
    except ValueError:
        raise UsageError(f"--until {word}: expected one of {', '.join(stage.value for stage in Until)}") from None


def parse_parallel(word: str) -> int | None:
    """Return the number of ``--parallel``; None for ``auto``.

    Raises:
        UsageError: neither ``auto`` nor a number from 1.
    """
    if word == "auto":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise UsageError(f"--parallel {word}: expected auto, or a number from 1")
    return int(word)


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNIT_SECONDS = (86_400.0, 3_600.0, 60.0, 1.0)


def parse_time_budget(words: str | None) -> float | None:
    """Return the seconds of ``--time-budget``: ``12h``, ``90m``, ``1d12h``, ``300s``.

    Raises:
        UsageError: no such duration, or none at all.
    """
    if words is None:
        return None
    found = _DURATION.fullmatch(words.strip().lower())
    counts = found.groups() if found is not None else ()
    seconds = sum(int(count) * unit for count, unit in zip(counts, _UNIT_SECONDS, strict=False) if count)
    if not seconds:
        raise UsageError(
            f"--time-budget {words}: a duration in whole days, hours, minutes and seconds is expected, e.g. 12h, "
            "90m or 1d12h"
        )
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Options of ``nnbox train``.

    Attributes:
        input: root of the data set (or of several tasks).
        output: where everything goes; None = ``<input>/nnbox``.
        recipe: ``2018`` or ``2019``.
        configurations: a subset of the planned configurations, or None for all.
        folds: a subset of the folds, or None for all.
        epochs: maximum epochs, or None for the recipe's.
        iterations: iterations per epoch, or None for the recipe's.
        time_budget_seconds: for the whole run; trainings are laid out for it. None: the recipe's schedule.
        until: last stage, or None for the whole line.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a list of the last.
        parallel: networks trained at once on each device; None = tried out on a card, 1 on a CPU.
        planning_memory_gb: memory the planner's budgets are scaled to.
        workers: worker processes, or None to size them to the machine.
        seed: of every random stream.
        deterministic: byte-identical results; None = on CPU only.
        restart: move an earlier run aside and start anew.
        engine: how networks are trained.
        asked_at: when the command was given, on the clock of ``time.monotonic``; None: when the run begins.
        intake: what is said about the data.
    """

    input: Path
    output: Path | None = None
    recipe: str = "2019"
    configurations: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    epochs: int | None = None
    iterations: int | None = None
    time_budget_seconds: float | None = None
    until: Until | None = None
    device: str = "auto"
    parallel: int | None = None
    planning_memory_gb: float | None = None
    workers: int | None = None
    seed: int = 0
    deterministic: bool | None = None
    restart: bool = False
    engine: EngineWishes = field(default_factory=EngineWishes)
    asked_at: float | None = None
    intake: IntakeOptions = field(default_factory=IntakeOptions)

    def __post_init__(self) -> None:
        """See that the options go together.

        Raises:
            UsageError: a time budget and a schedule of one's own.
        """
        if self.time_budget_seconds is not None and (self.epochs is not None or self.iterations is not None):
            raise UsageError(
                "--time-budget lays out the epochs and their steps by itself. What to do: leave out --epochs and "
                "--iterations, or leave out --time-budget"
            )
        if self.time_budget_seconds is not None and ((self.parallel or 1) > 1 or "," in self.device):
            raise UsageError(
                "--time-budget trains one network after the other, on one device. What to do: leave out --parallel and "
                "name one --device, or leave out --time-budget"
            )

    @property
    def needs_networks(self) -> bool:
        """Whether the run computes networks."""
        return self.until is None or self.until.needs_networks

    @property
    def cpu_is_wanted(self) -> bool:
        """Whether a long run on a CPU was asked for: by ``--device cpu`` or by a budget."""
        return self.device == "cpu" or self.epochs is not None or self.time_budget_seconds is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Options of ``nnbox predict``.

    Attributes:
        input: a labelled layout (its unlabelled images are predicted) or a flat folder of images.
        output: where label maps and archive go.
        model: bundle folder or archive; None = searched for.
        folds: a subset of the bundle's folds, or None for all.
        mirroring: average mirrored passes.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: in which the networks compute.
        memory_limit_gb: what the process and all it starts may hold, or None for what the container's limits leave.
        workers: worker processes, or None to size them to the machine.
        intake: what is said about the data.
    """

    input: Path
    output: Path
    model: Path | None = None
    folds: tuple[int, ...] | None = None
    mirroring: bool = True
    device: str = "auto"
    precision: Precision = Precision.AUTO
    memory_limit_gb: float | None = None
    workers: int | None = None
    intake: IntakeOptions = field(default_factory=IntakeOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverOptions:
    """Options of ``nnbox handover``.

    Attributes:
        model: bundle folder or archive, or a folder that holds one; it is not changed.
        input_slugs: one for each channel of the model, in their order.
        output_slug: of the label map.
        output: where archive and report go; None: the folder ``handover`` beside the bundle.
        renumber_labels: where the label values have gaps, write 1, 2, … instead.
        memory_gb: the memory that will be asked of the platform.
        full_size: rehearse with the plan's median shape however large.
    """

    model: Path
    input_slugs: tuple[str, ...]
    output_slug: str
    output: Path | None = None
    renumber_labels: bool = False
    memory_gb: int = 8
    full_size: bool = False
