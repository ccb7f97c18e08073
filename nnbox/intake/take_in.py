"""From a folder to a checked data set: every case read once, every problem told at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from nnbox.errors import DataError, Problem, Severity
from nnbox.imaging.intensities import IntensityTally
from nnbox.intake.advice import label_findings, training_findings
from nnbox.intake.agreement import channel_problems, dimension_problems
from nnbox.intake.choices import channel_names, channels_of, mirror_axes, printable, recorded, without_excluded
from nnbox.intake.facts import CaseReading, CaseTask, IntakeResult, SecondTask
from nnbox.intake.options import IntakeOptions
from nnbox.intake.tables import read_patients, read_splits
from nnbox.intake.workers import count_cases_again, read_cases, values_of_cases
from nnbox.layouts.detect import detect
from nnbox.layouts.draft import LayoutDraft
from nnbox.records.dataset import Case, Dataset, FileState, InputDigests, Label, all_digests
from nnbox.records.endings import split_ending
from nnbox.records.fingerprint import Fingerprint, Intensity

Purpose = Literal["train", "predict"]
_MOST_INFERRED_LABELS = 255
_DATA_ENDINGS = (".raw", ".zraw", ".raw.gz", ".img")  # what MetaImage and NRRD headers usually name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A data set whose files have been read but whose cases have not been compared with each other."""

    draft: LayoutDraft
    labels: tuple[Label, ...] | None
    cases: tuple[Case, ...]
    test_cases: tuple[Case, ...]
    tasks: tuple[CaseTask, ...]
    readings: tuple[CaseReading, ...]
    tally: IntensityTally
    problems: tuple[Problem, ...]


def take_in(
    root: Path,
    options: IntakeOptions,
    *,
    workers: int,
    known: InputDigests | None = None,
    purpose: Purpose = "train",
) -> IntakeResult:
    """Check a data set completely and measure it; nothing under the root is changed.

    Args:
        root: folder of one data set.
        options: the user's decisions.
        workers: processes to read with; 0 or 1: this one.
        known: digests of an earlier run, reused for files of the same size and time.
        purpose: ``predict`` looks at the unlabelled images only.

    Returns:
        The record (None if anything is an error), every finding, and what was measured.

    Raises:
        UsageError: the root is no folder or cannot be listed.
    """
    found = _read(root, options, workers, known, training=purpose == "train")
    dataset, problems = _judge(found, options, training=purpose == "train")
    problems = tuple(map(_printable, sorted(problems, key=lambda problem: problem.severity is not Severity.ERROR)))
    whole = [reading for reading in found.readings if reading.fingerprint is not None]
    warnings = tuple(problem for problem in problems if problem.severity is Severity.WARNING)
    sound = warnings == problems
    return IntakeResult(
        task=dataset.task,
        found=dataset,
        dataset=replace(dataset, warnings=warnings) if sound else None,
        problems=problems,
        digests=all_digests(reading.digests for reading in found.readings),
        facts=tuple(reading.facts for reading in found.readings if reading.facts is not None),
        fingerprints=tuple(reading.fingerprint for reading in whole if reading.fingerprint is not None),
        intensities=_intensities(found, workers) if sound else None,
    )


def _printable(problem: Problem) -> Problem:
    """Return a finding that can be shown and recorded, whatever bytes the file names hold."""
    return replace(
        problem,
        what=printable(problem.what),
        expected=printable(problem.expected),
        remedy=printable(problem.remedy),
        case=None if problem.case is None else printable(problem.case),
        file=None if problem.file is None else printable(problem.file),
    )


def fingerprint_of(result: IntakeResult) -> Fingerprint:
    """Combine the cases' measurements.

    Raises:
        DataError: the data set has errors, no training cases, or no foreground.
    """
    dataset = result.require_dataset()
    if result.intensities is None:
        raise DataError("no training case has a foreground voxel, so there are no intensities to measure")
    return Fingerprint(
        task=dataset.task,
        dimension=dataset.dimension,
        channels=dataset.channels,
        labels=dataset.labels,
        cases=result.fingerprints,
        intensities=result.intensities,
    )


def _intensities(found: _Found, workers: int) -> tuple[Intensity, ...] | None:
    """Finish the statistics of the foreground, with a second pass over the labelled cases where one is needed."""
    if found.tally.is_empty:
        return None
    bins = found.tally.unresolved()
    if any(bins):
        again = [
            SecondTask(case=task, bins=bins, taken=_states(task, reading))
            for task, reading in zip(found.tasks, found.readings, strict=True)
            if task.case.label is not None
        ]
        for fine in count_cases_again(again, workers):
            found.tally.add_fine(fine)
    return found.tally.intensities()


def _states(task: CaseTask, reading: CaseReading) -> dict[Path, FileState]:
    return reading.digests.states(Path(task.root), reading.digests.files)


def _read(root: Path, options: IntakeOptions, workers: int, known: InputDigests | None, *, training: bool) -> _Found:
    draft = detect(root, channel_count=len(options.channels) if options.channels else None)
    chosen = without_excluded(draft, options, training=training)
    names = [case.name for case in chosen.cases]
    others = [*options.exclude, *(case.name for case in draft.test_cases)]
    patients, patient_problems = read_patients(root, options.patients, names, others) if training else ({}, ())
    cases = tuple(replace(case, patient=patients.get(case.name)) for case in chosen.cases)
    stated = draft.channels if draft.channels is not None else options.channels
    template = CaseTask(
        root=str(root),
        case=Case(name="", images=(), label=None, output_name=""),
        labels=draft.labels,
        channels=None if stated is None else len(stated),
        channels_from="dataset.json" if draft.channels is not None else "--channels" if training else "--model",
        trust_image_grid=options.trust_image_grid,
        replace_nonfinite=options.replace_nonfinite,
        known={} if known is None else dict(known.files),
    )
    tasks = [_for_case(template, case) for case in (*cases, *chosen.test_cases)]
    labels = draft.labels
    label_problems: tuple[Problem, ...] = ()
    if draft.labels is None and draft.layout == "bare":
        labels, label_problems = _inferred_labels(values_of_cases(tasks, workers))
    tally, readings = IntensityTally(), []
    for reading in read_cases([replace(task, labels=labels) for task in tasks], workers):
        if reading.foreground is not None:
            tally.add(reading.foreground)
        readings.append(replace(reading, foreground=None))  # counted; what is kept of a case must be small
    return _Found(
        draft=draft,
        labels=labels,
        cases=cases,
        test_cases=chosen.test_cases,
        tasks=tuple(tasks),
        readings=tuple(readings),
        tally=tally,
        problems=(
            *chosen.problems,
            *patient_problems,
            *label_problems,
            *(problem for reading in readings for problem in reading.problems),
        ),
    )


def _for_case(template: CaseTask, case: Case) -> CaseTask:
    """Return the task of one case with the digests of its own files only: less to send to a worker."""
    files = [*case.images, *([] if case.label is None else [case.label])]
    data = [split_ending(file)[0] + ending for file in files for ending in _DATA_ENDINGS]
    known = {file: template.known[file] for file in (*files, *data) if file in template.known}
    return replace(template, case=case, known=known)


def _inferred_labels(values: tuple[int, ...]) -> tuple[tuple[Label, ...], tuple[Problem, ...]]:
    """Name the values found in label maps without a ``dataset.json``."""
    foreground = [value for value in values if 0 < value <= 65535]
    if len(foreground) <= _MOST_INFERRED_LABELS:
        return tuple(Label(value=value, name=f"label_{value}") for value in foreground), ()
    problem = Problem(
        severity=Severity.ERROR,
        what=f"the label maps hold {len(foreground)} different values",
        expected=f"at most {_MOST_INFERRED_LABELS} labels",
        remedy="check that labelsTr holds label maps, or describe the labels in a dataset.json",
        file="labelsTr",
    )
    return tuple(Label(value=value, name=f"label_{value}") for value in foreground), (problem,)


def _judge(found: _Found, options: IntakeOptions, *, training: bool) -> tuple[Dataset, tuple[Problem, ...]]:
    """Compare the cases with each other; return the record without its warnings, and all findings."""
    draft = found.draft
    by_name = {case.name: case for case in (*found.cases, *found.test_cases)}
    facts = tuple(reading.facts for reading in found.readings if reading.facts is not None)
    names, name_problems = channel_names(draft, options, facts)
    dimension, dimension_findings = dimension_problems(facts, draft.dimension, by_name)
    axes, axis_problems = mirror_axes(options)
    folds = None
    fold_problems: tuple[Problem, ...] = ()
    if training and options.splits is not None:
        patients = {case.name: case.patient for case in found.cases if case.patient is not None}
        cases = [case.name for case in found.cases]
        folds, fold_problems = read_splits(options.splits, cases, options.exclude, patients)
    dataset = Dataset(
        task=draft.task,
        layout=draft.layout,
        dimension=dimension,
        channels=channels_of(names),
        labels=found.labels or (),
        cases=found.cases,
        test_cases=found.test_cases,
        folds=folds,
        choices=recorded(options, axes),
        warnings=(),
    )
    problems = [*found.problems, *name_problems, *dimension_findings, *axis_problems, *fold_problems]
    if draft.channels is None and options.channels is None:
        problems += channel_problems(facts, len(names), by_name)
    if training:
        problems += training_findings(dataset, found.readings, names_known=draft.channels is not None)
        if found.labels is not None:
            problems += label_findings(found.labels, facts)
    errors = any(problem.severity is Severity.ERROR for problem in problems)
    if not errors and not (found.cases if training else found.test_cases):
        problems.append(_nothing_to_do(draft, training=training))
    return dataset, tuple(problems)


def _nothing_to_do(draft: LayoutDraft, *, training: bool) -> Problem:
    if training:
        what = f"there are no labelled cases, only {len(draft.test_cases)} image(s) without a label ({draft.layout})"
        expected = "images in imagesTr with label maps in labelsTr, or a dataset.json that lists them"
        remedy = "add label maps, or use these images with nnbox predict"
    else:
        what = f"there are no unlabelled images, only {len(draft.cases)} labelled case(s) ({draft.layout})"
        expected = "images in imagesTs, or a flat folder of images"
        remedy = "put the images to predict there, or name their folder with --input"
    return Problem(severity=Severity.ERROR, what=what, expected=expected, remedy=remedy)
