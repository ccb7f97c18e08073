"""``inspect``: what was detected, every problem, what would be trained, and the disk it needs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnbox.errors import PlanError, Problem, ResourceError, Severity
from nnbox.files import atomic_write_text
from nnbox.intake.facts import CaseFacts, IntakeResult
from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import fingerprint_of, take_in
from nnbox.layouts.detect import find_tasks
from nnbox.records.dataset import Dataset
from nnbox.records.fingerprint import Intensity
from nnbox.records.plan import Plan
from nnbox.report.facts import DataFacts
from nnbox.rules.planning import make_plan
from nnbox.stages.planning import require_memory
from nnbox.stages.resources import DiskNeed, disk_need
from nnbox.version import version_sentence

Row = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One task as found.

    Attributes:
        task: its name.
        problems: every finding, errors first.
        rows: what was detected, as (what, value).
        training: one row per planned configuration; empty when the data cannot be trained on.
        note: why there is no plan, or the disk a run needs.
        data: the same for the report's data section.
    """

    task: str
    problems: tuple[Problem, ...]
    rows: tuple[Row, ...]
    training: tuple[tuple[str, ...], ...]
    note: str
    data: DataFacts

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The findings that stop a run."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)


TRAINING_COLUMNS = ("configuration", "spacing mm", "median shape", "patch", "batch", "pools")


def inspect_root(
    root: Path, options: IntakeOptions, *, recipe: str, planning_memory_gb: float | None, workers: int
) -> tuple[Inspection, ...]:
    """Look at every task below a root."""
    memory_gb = require_memory(planning_memory_gb)
    return tuple(_inspect(task, options, recipe, memory_gb, workers) for task in find_tasks(root))


def _inspect(root: Path, options: IntakeOptions, recipe: str, memory_gb: float, workers: int) -> Inspection:
    result = take_in(root, options, workers=workers)
    dataset = result.dataset
    rows = (*_dataset_rows(result.found), *_rows(result))
    if dataset is None:
        return Inspection(
            task=result.task,
            problems=result.problems,
            rows=rows,
            training=(),
            note="no plan: the errors above come first",
            data=_data(result, None),
        )
    fingerprint = fingerprint_of(result)
    data = _data(result, fingerprint.intensities)
    try:
        plan = make_plan(fingerprint, recipe=recipe, planning_memory_gb=memory_gb, choices=dataset.choices)
    except PlanError as error:
        note = f"no plan: {error}"
        return Inspection(task=result.task, problems=result.problems, rows=rows, training=(), note=note, data=data)
    return Inspection(
        task=result.task,
        problems=result.problems,
        rows=rows,
        training=_training_rows(plan),
        note=_need_sentence(disk_need(plan, fingerprint), plan),
        data=data,
    )


def _data(result: IntakeResult, intensities: tuple[Intensity, ...] | None) -> DataFacts:
    found = result.found
    return DataFacts(
        task=result.task,
        layout=found.layout,
        dimension=found.dimension,
        channels=found.channels,
        labels=found.labels,
        cases=result.fingerprints,
        intensities=intensities,
        test_cases=len(found.test_cases),
        patients=len({case.patient for case in found.cases if case.patient is not None}),
        problems=result.problems,
        kept=False,
    )


def write_data_report(inspection: Inspection, page: Path) -> None:
    """Write the report's data section alone.

    Raises:
        ResourceError: the page cannot be written.
    """
    from nnbox.report.render import render  # noqa: PLC0415 - figures are slow to import, and seldom asked for
    from nnbox.report.report import data_report  # noqa: PLC0415

    text = render(data_report(inspection.data, datetime.now().astimezone(), version_sentence()))
    try:
        atomic_write_text(page, text)
    except OSError as error:
        raise ResourceError(f"--report {page} cannot be written ({error.strerror})") from None


def _dataset_rows(dataset: Dataset) -> tuple[Row, ...]:
    channels = ", ".join(item.name for item in dataset.channels)
    return (
        ("layout", f"{dataset.layout}, {dataset.dimension}D"),
        ("labelled cases", str(len(dataset.cases))),
        ("test images", str(len(dataset.test_cases))),
        ("channels", channels or "-"),
        *_patient_rows(dataset),
    )


def _patient_rows(dataset: Dataset) -> tuple[Row, ...]:
    patients = {case.patient for case in dataset.cases if case.patient is not None}
    return (("patients", str(len(patients))),) if patients else ()


def _rows(result: IntakeResult) -> tuple[Row, ...]:
    facts = result.facts
    if not facts:
        return ()
    labelled = [item for item in facts if item.labelled]
    rows = [
        ("shape (z, y, x) in voxels", _ranges([item.shape_vox for item in facts])),
        ("spacing (z, y, x) in mm", _ranges([item.spacing_mm for item in facts])),
        ("orientation (z, y, x)", _counted(item.orientation for item in facts)),
        ("stored as", _counted(item.pixel_type for item in facts)),
        ("intensities", _intensities(facts)),
    ]
    if result.dataset is not None and labelled:
        rows += _label_rows(result.dataset, labelled)
    return tuple(rows)


def _label_rows(dataset: Dataset, labelled: Sequence[CaseFacts]) -> list[Row]:
    rows = []
    for index, label in enumerate(dataset.labels):
        millilitres = [
            item.label_voxels[index] * item.spacing_mm[0] * item.spacing_mm[1] * item.spacing_mm[2] / 1000
            for item in labelled
        ]
        present = [volume for volume in millilitres if volume > 0]
        volumes = (
            f"median {statistics.median(present):.3g} ml ({min(present):.3g} to {max(present):.3g})" if present else "-"
        )
        rows.append((f"label {label.value}: {label.name}", f"in {len(present)} of {len(labelled)} cases, {volumes}"))
    return rows


def _ranges(values: Sequence[tuple[float, ...]]) -> str:
    axes = list(zip(*values, strict=True))
    middle = " x ".join(f"{statistics.median(axis):.4g}" for axis in axes)
    low, high = (" x ".join(f"{pick(axis):.4g}" for axis in axes) for pick in (min, max))
    return middle if low == high else f"median {middle} (smallest {low}, largest {high})"


def _counted(words: Iterable[str]) -> str:
    counts = Counter(words).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{word} ({count})" for word, count in counts)


def _intensities(facts: Sequence[CaseFacts]) -> str:
    channels = range(min(len(item.minimum) for item in facts))
    ranges = [(min(item.minimum[c] for item in facts), max(item.maximum[c] for item in facts)) for c in channels]
    return "; ".join(f"{low:g} to {high:g}" for low, high in ranges)


def _training_rows(plan: Plan) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            item.name,
            " x ".join(f"{value:.4g}" for value in item.spacing_mm),
            " x ".join(map(str, item.median_shape)),
            " x ".join(map(str, item.patch_size)),
            str(item.batch_size),
            " x ".join(map(str, item.num_pool_per_axis)),
        )
        for item in plan.configurations
    )


def _need_sentence(need: DiskNeed, plan: Plan) -> str:
    parts = f"prepared cases {_gb(need.prepared_bytes)}, stored probabilities {_gb(need.validation_bytes)}"
    return (
        f"recipe {plan.recipe}, planned for {plan.planning_memory_gb:g} GB of card memory; disk needed: about "
        f"{_gb(need.total_bytes)} ({parts}, weights {_gb(need.weights_bytes)})"
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.2g} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
