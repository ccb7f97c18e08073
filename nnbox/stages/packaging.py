"""The model bundle, and the result archive with its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import IncompleteOutputError
from nnbox.imaging.io import read_header
from nnbox.layouts.detect import detect
from nnbox.records.codec import digest
from nnbox.records.dataset import Case
from nnbox.records.plan import Plan
from nnbox.records.results import Selection
from nnbox.stages.completion import empty_sentence
from nnbox.stages.context import Context
from nnbox.stages.journal import Journal
from nnbox.stages.receipts import Unit, file_state
from nnbox.submission.archive import write_submission
from nnbox.submission.bundle import ModelBundle, open_bundle, pack_bundle, weights_name, write_bundle
from nnbox.submission.check import check_submission
from nnbox.submission.contents import MANIFEST
from nnbox.submission.expected import ExpectedCase, cases_that_may_be_absent

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPredictions:
    """The test cases of one task and their label maps.

    Attributes:
        task: the folder's name in the archive.
        files: the label maps.
        expected: what the archive must hold for this task.
        empty: cases whose label map holds background only.
    """

    task: str
    files: tuple[Path, ...]
    expected: tuple[ExpectedCase, ...]
    empty: tuple[str, ...] = ()


def package_model(context: Context, plan: Plan, selection: Selection) -> ModelBundle:
    """Write the bundle folder and its archive unless they are there already; return the opened bundle."""
    workspace = context.workspace
    weights = {(name, fold): workspace.weights(name, fold) for name, folds in selection.folds.items() for fold in folds}
    inputs = {"plan": digest(plan), "selection": digest(selection)}
    inputs |= {f"weights {name} fold {fold}": file_state(path).sha256 for (name, fold), path in weights.items()}
    bundled = tuple(workspace.model / weights_name(name, fold) for name, fold in weights)
    outputs = (workspace.model / MANIFEST, *bundled, workspace.model_archive)
    unit = Unit(name="model", version=VERSION, inputs=inputs, outputs=outputs)

    def work() -> None:
        write_bundle(workspace.model, plan, selection, weights)
        pack_bundle(workspace.model, workspace.model_archive)

    if context.receipts.carry_out(unit, work):
        size_mb = workspace.model_archive.stat().st_size / 1e6
        context.journal.say("model", f"model: {workspace.model} and {workspace.model_archive} ({size_mb:.0f} MB)")
    return open_bundle(workspace.model, workspace.root)


def expected_cases(root: Path, task: str, cases: Sequence[Case], plan: Plan) -> tuple[ExpectedCase, ...]:
    """Return what an archive must hold for the given test cases."""
    values = tuple(label.value for label in plan.labels)
    return tuple(
        ExpectedCase(
            task=task,
            output_name=case.output_name,
            grid=read_header(root / case.images[0]).grid,
            label_values=values,
        )
        for case in cases
    )


def warn_left_out(context: Context, excluded: Sequence[str]) -> None:
    """Say which test images ``--exclude`` keeps out of the archive: it passes its own check, but is not complete."""
    names = sorted({case.name for case in detect(context.root).test_cases} & set(excluded))
    if names:
        context.journal.warn(
            "left_out", f"the archive will lack {', '.join(names)}, left out with --exclude", {"cases": names}
        )


def submit(archive: Path, tasks: Sequence[TaskPredictions], journal: Journal) -> None:
    """Write the result archive and check it as the upload would be checked.

    Raises:
        IncompleteOutputError: the check finds a defect; the archive stays for inspection.
    """
    files: Mapping[str, Sequence[Path]] = {item.task: item.files for item in tasks}
    write_submission(archive, files)
    expected = tuple(case for item in tasks for case in item.expected)
    problems = check_submission(archive, expected, cases_that_may_be_absent(expected, None))
    if problems:
        raise IncompleteOutputError(f"{archive} does not pass the check:", problems)
    names = ", ".join(item.task for item in tasks)
    journal.say("submission", f"submission: {archive} holds {len(expected)} cases of {names} and passes every check")
    for item in tasks:
        if item.empty:
            journal.warn("empty_predictions", f"{item.task}: {empty_sentence(item.empty, len(item.files))}")
