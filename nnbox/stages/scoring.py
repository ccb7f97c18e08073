"""Out-of-fold label maps of a candidate and their scores, case by case, in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.evaluation.scores import score_case
from nnbox.imaging.as_taken import require_as_taken
from nnbox.imaging.io import read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.inference.export import labels_on_source
from nnbox.inference.probabilities import average_probabilities, load_probabilities
from nnbox.records.codec import read_record, write_record
from nnbox.records.dataset import Case, FileState
from nnbox.records.plan import Plan
from nnbox.records.prepared import PreparedCase
from nnbox.records.results import CaseScores, PostprocessingStep
from nnbox.rules.tolerances import surface_tolerance_mm
from nnbox.stages.context import Context
from nnbox.stages.job import Job
from nnbox.stages.pool import run_all
from nnbox.stages.receipts import Unit
from nnbox.training.store import case_record

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringTask:
    """One candidate on one case.

    Attributes:
        case: its name.
        reference: the label file.
        taken: what it, and the file of its voxels where that is another, was when it was taken in.
        prepared: side record of the prepared case, for grid and placement.
        probabilities: stored probabilities of each member.
        plan: for the labels.
        tolerance_mm: of the surface Dice.
        steps: post-processing applied to the map before scoring.
        target: where the scores are written, or None.
    """

    case: str
    reference: Path
    taken: Mapping[Path, FileState]
    prepared: Path
    probabilities: tuple[Path, ...]
    plan: Plan
    tolerance_mm: float
    steps: tuple[PostprocessingStep, ...] = ()
    target: Path | None = None


def scoring_task(context: Context, job: Job, members: Sequence[str], case: Case) -> ScoringTask:
    """Gather the files of one candidate and case; nothing is read."""
    plan = job.plan
    store = plan.configuration(members[0]).store
    return ScoringTask(
        case=case.name,
        reference=context.root / str(case.label),
        taken=job.taken.digests.states(context.root, (str(case.label),)),
        prepared=case_record(context.workspace.store(store), case.name),
        probabilities=tuple(context.workspace.validation(member, case.name) for member in members),
        plan=plan,
        tolerance_mm=tolerance_of(job)[0],
    )


def tolerance_of(job: Job) -> tuple[float, str]:
    """Return the task's surface-Dice tolerance in mm, and where it comes from."""
    return surface_tolerance_mm(job.plan.task, job.fingerprint)


def score(task: ScoringTask) -> CaseScores:
    """Score one candidate on one case on the source grid, after the task's post-processing steps.

    Returns:
        The scores; also written to the task's target.
    """
    reference, prediction, spacing_mm = reference_and_prediction(task)
    prediction = apply_postprocessing(prediction, task.steps)
    labels = len(task.plan.labels)
    scores = score_case(task.case, reference, prediction, spacing_mm, labels, task.tolerance_mm)
    if task.target is not None:
        write_record(task.target, scores)
    return scores


def reference_and_prediction(
    task: ScoringTask,
) -> tuple[NDArray[np.int16], NDArray[np.unsignedinteger], tuple[float, float, float]]:
    """Return reference and out-of-fold prediction, consecutive labels (z, y, x) in source order, and the spacing.

    Raises:
        DataError: the reference was changed since it was taken in.
    """
    record = read_record(task.prepared, PreparedCase)
    values, _ = read_labels(task.reference)
    require_as_taken(task.taken)
    reference = to_consecutive(values, task.plan.labels)
    mean = average_probabilities([load_probabilities(path) for path in task.probabilities])
    return reference, labels_on_source(mean, record.placement), record.grid.spacing_mm


def score_candidate(
    context: Context, job: Job, members: Sequence[str], cases: Sequence[Case]
) -> tuple[CaseScores, ...]:
    """Score a candidate on every given case; what was scored from equal inputs is read back."""
    name = "+".join(members)
    units = [scoring_unit(context, job, members, case) for case in cases]
    waiting = [pair for pair in zip(units, cases, strict=True) if not context.receipts.is_done(pair[0])]
    tasks = [replace(scoring_task(context, job, members, case), target=unit.outputs[0]) for unit, case in waiting]
    scored = run_all(
        score,
        tasks,
        workers=context.workers,
        name=lambda task: f"scoring {name} on case {task.case}",
        tell=lambda sentence: context.journal.warn("worker_lost", sentence),
    )
    for (unit, _), _ in zip(waiting, scored, strict=True):
        context.receipts.write(unit, seconds=0.0)
    return tuple(read_record(context.workspace.scores(name, case.name), CaseScores) for case in cases)


def scoring_unit(context: Context, job: Job, members: Sequence[str], case: Case) -> Unit:
    """Return the unit of one candidate on one case: what it reads, by digest."""
    name = "+".join(members)
    inputs = {"surface tolerance": f"{tolerance_of(job)[0]:g} mm", **job.taken.case_digests(case)}
    for member in members:
        receipt = context.receipts.read(f"validation/{member}/{case.name}")
        stored = context.workspace.validation(member, case.name).relative_to(context.workspace.root).as_posix()
        if receipt is not None:
            inputs[f"probabilities {member}"] = receipt.outputs[stored].sha256
    return Unit(
        name=f"scores/{name}/{case.name}",
        version=VERSION,
        inputs=inputs,
        outputs=(context.workspace.scores(name, case.name),),
    )
