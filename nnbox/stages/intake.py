"""The data set read once: what was found, every problem, the digest of every file, and the fingerprint."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import DataError, Problem, Severity
from nnbox.files import digest_text
from nnbox.intake.options import IntakeOptions
from nnbox.intake.take_in import fingerprint_of, take_in
from nnbox.records.codec import encode, read_record, write_record
from nnbox.records.dataset import Dataset, InputDigests
from nnbox.records.fingerprint import Fingerprint
from nnbox.stages.context import Context, TakenIn
from nnbox.stages.journal import Journal
from nnbox.stages.receipts import Unit

VERSION = 1
_OWN_FOLDER = "nnbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The data set of a run.

    Attributes:
        taken: data-set record and digests.
        fingerprint: of the training cases.
        unit: the reading as a unit of work, to be kept once nothing forbids it.
    """

    taken: TakenIn
    fingerprint: Fingerprint
    unit: Unit


def take_in_dataset(context: Context, options: IntakeOptions) -> Found:
    """Read and check the data set, unless the same files were read with the same options before.

    Nothing is written; see `keep`.

    Raises:
        DataError: with every problem found.
    """
    workspace = context.workspace
    unit = Unit(
        name="intake",
        version=VERSION,
        inputs={"files": listing_digest(context.root), "options": _options_digest(options)},
        outputs=(workspace.dataset, workspace.input_digests, workspace.fingerprint),
    )
    if context.receipts.is_done(unit):
        dataset = read_record(workspace.dataset, Dataset)
        digests = read_record(workspace.input_digests, InputDigests)
        for problem in dataset.warnings:
            context.journal.warn("input_warning", problem.sentence())
        context.journal.say("intake", f"input: unchanged since it was read ({_count(dataset)})")
        fingerprint = read_record(workspace.fingerprint, Fingerprint)
        return Found(taken=TakenIn(dataset=dataset, digests=digests), fingerprint=fingerprint, unit=unit)
    known = read_record(workspace.input_digests, InputDigests) if workspace.input_digests.exists() else None
    result = take_in(context.root, options, workers=context.workers, known=known)
    dataset = require_sound(result.dataset, result.problems, context.journal, context.root)
    context.journal.say("intake", f"input: {dataset.layout}, {_count(dataset)}")
    taken = TakenIn(dataset=dataset, digests=result.digests)
    return Found(taken=taken, fingerprint=fingerprint_of(result), unit=unit)


def keep(context: Context, found: Found) -> None:
    """Write what was found about the data set, so that the next run need not read it again."""
    if context.receipts.is_done(found.unit):
        return
    write_record(context.workspace.dataset, found.taken.dataset)
    write_record(context.workspace.input_digests, found.taken.digests)
    write_record(context.workspace.fingerprint, found.fingerprint)
    context.receipts.write(found.unit, seconds=0.0)


def require_sound(dataset: Dataset | None, problems: tuple[Problem, ...], journal: Journal, root: Path) -> Dataset:
    """Tell the warnings; refuse the data set if there is an error.

    Raises:
        DataError: with every error found.
    """
    for problem in problems:
        if problem.severity is Severity.WARNING:
            journal.warn("input_warning", problem.sentence())
    errors = tuple(problem for problem in problems if problem.severity is Severity.ERROR)
    if errors or dataset is None:
        count = f"{len(errors)} problem{'' if len(errors) == 1 else 's'}"
        raise DataError(f"{root} cannot be used as it is; {count}:", errors)
    return dataset


def listing_digest(root: Path) -> str:
    """Digest of path, size and time of every file below a root, except in folders called ``nnbox``."""
    lines = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name != _OWN_FOLDER or Path(folder) != root)
        for name in sorted(files):
            path = Path(folder) / name
            try:
                state = path.stat()
            except OSError:
                lines.append(f"{path.relative_to(root)} unreadable")
                continue
            lines.append(f"{path.relative_to(root)} {state.st_size} {state.st_mtime_ns}")
    return digest_text("\n".join(lines))


def _options_digest(options: IntakeOptions) -> str:
    files = [path.read_text(errors="replace") for path in (options.patients, options.splits) if path and path.is_file()]
    return digest_text(json.dumps([encode(options), *files], sort_keys=True))


def _count(dataset: Dataset) -> str:
    channels = ", ".join(channel.name for channel in dataset.channels)
    labels = ", ".join(label.name for label in dataset.labels)
    counts = f"{len(dataset.cases)} labelled cases, {len(dataset.test_cases)} test images"
    return f"{counts}; channels {channels}; labels {labels}"
