"""How a model goes to grand-challenge.org: the platform's names for its images, and what a rehearsal showed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from nnbox.records.plan import Plan

MOST_LABELS = 63
"""The platform reads a label map's values up to 64 of them, background included."""
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_SLUG = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """The mapping between a model and an algorithm's sockets on the platform; part of the model bundle.

    Attributes:
        task: name of the model's task.
        input_slugs: one input per channel of the model, in the order of its channels. A 2D model may have one input for
            all its channels: an RGB picture.
        output_slug: the folder below ``/output/images`` that takes the label map.
        label_values: the value that is written for each of the model's labels, in their order: 1 to their number, since
            the platform's viewer wants values without a gap from 0 on.
    """

    RECORD: ClassVar[str] = "handover"
    VERSION: ClassVar[int] = 1

    task: str
    input_slugs: tuple[str, ...]
    output_slug: str
    label_values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalRun:
    """One rehearsed job.

    Attributes:
        form: how its input was laid out, ``inputs.json`` or ``images``.
        shape_vox: of the made-up image, (z, y, x).
        spacing_mm: of the made-up image, (z, y, x).
        exit_code: of the entrypoint; negative: ended by that signal.
        seconds: wall time.
        peak_memory_mb: the largest resident memory of the process.
        outputs: every file below the output folder.
        label_values: the values that the label map holds; empty where it cannot be read.
        defects: what the platform would not take, in words.
        last_lines: the end of what it printed.
    """

    form: str
    shape_vox: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    exit_code: int
    seconds: float
    peak_memory_mb: float
    outputs: tuple[str, ...]
    label_values: tuple[int, ...]
    defects: tuple[str, ...]
    last_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What the rehearsal of a handover showed; stands beside the archive.

    Attributes:
        archive_sha256: of the archive that was rehearsed.
        archive_bytes: its size.
        handover: the mapping in it.
        command: what was started.
        limits: each limit of the platform, and how it was imposed or why not.
        median_shape_vox: the plan's median shape (z, y, x), which the made-up image has unless that is large.
        runs: one per form of input.
    """

    RECORD: ClassVar[str] = "rehearsal"
    VERSION: ClassVar[int] = 1

    archive_sha256: str
    archive_bytes: int
    handover: Handover
    command: tuple[str, ...]
    limits: Mapping[str, str]
    median_shape_vox: tuple[int, ...]
    runs: tuple[RehearsalRun, ...]

    @property
    def passed(self) -> bool:
        """Whether every run gave what the platform takes."""
        return bool(self.runs) and not any(run.defects for run in self.runs)


def handover_defects(plan: Plan, handover: Handover | None) -> tuple[str, ...]:
    """Return why a mapping does not fit a plan, in words; empty where it fits or there is none."""
    return () if handover is None else tuple(_defects(plan, handover))


def _defects(plan: Plan, handover: Handover) -> Iterator[str]:
    if handover.task != plan.task:
        yield f"the mapping is for {handover.task!r}, the plan for {plan.task!r}"
    for slug in (*handover.input_slugs, handover.output_slug):
        if not _SLUG.fullmatch(slug) or len(slug) > _LONGEST_SLUG:
            yield f"the slug {slug[:60]!r} is none: lowercase letters, digits and single hyphens are expected, e.g. ct"
    if len(set(handover.input_slugs)) != len(handover.input_slugs):
        yield f"the input slugs {', '.join(handover.input_slugs)} are not all different"
    names = ", ".join(channel.name for channel in plan.channels)
    if len(handover.input_slugs) not in ({len(plan.channels)} | ({1} if plan.dimension == 2 else set())):
        one = " (or 1, for a picture that holds all of them)" if plan.dimension == 2 else ""
        yield (
            f"{len(handover.input_slugs)} input slug(s) are named; the model has {len(plan.channels)} channel(s), "
            f"{names}: one slug for each, in this order, is expected{one}"
        )
    if len(plan.labels) > MOST_LABELS:
        yield f"the model has {len(plan.labels)} labels; the platform reads label maps of at most {MOST_LABELS}"
    if handover.label_values != tuple(range(1, len(plan.labels) + 1)):
        values = ", ".join(map(str, handover.label_values))
        yield f"the label values {values} are not 1 to {len(plan.labels)}, one for each label"
