"""``handover``: a model bundle with the platform's slugs in it, as one archive that was rehearsed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import DataError, ResourceError, UsageError
from nnbox.files import flush_to_disk
from nnbox.records.codec import write_record
from nnbox.records.handover import Handover, Rehearsal, handover_defects
from nnbox.records.plan import Plan
from nnbox.stages.journal import Listener
from nnbox.stages.model_place import bundles
from nnbox.stages.options import HandoverOptions
from nnbox.stages.rehearsal import Conditions, rehearse
from nnbox.submission.bundle import open_bundle, pack_bundle, write_bundle

ARCHIVE = "model.tar.gz"
REPORT = "rehearsal.json"
FAILED_REPORT = "rehearsal-failed.json"
_FOLDER = "handover"
_LEAST_MEMORY_GB = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverOutcome:
    """What a handover gave.

    Attributes:
        rehearsal: what was seen.
        archive: the model to upload; None where the rehearsal failed.
        report: the rehearsal as a file.
        renumbered: (label's name, the model's value, the value that is written) where they differ.
    """

    rehearsal: Rehearsal
    archive: Path | None
    report: Path
    renumbered: tuple[tuple[str, int, int], ...]


def hand_over(options: HandoverOptions, listener: Listener) -> HandoverOutcome:
    """Put the mapping into a copy of the bundle, pack it, rehearse it; it gets its name only when that went well.

    Raises:
        UsageError: slugs, memory or label values that do not fit the model.
        DataError: the model is no whole bundle.
        ResourceError: the output cannot be written.
    """
    if options.memory_gb < _LEAST_MEMORY_GB:
        raise UsageError(f"--memory {options.memory_gb}: at least {_LEAST_MEMORY_GB} (GB) is expected")
    if not options.model.exists():
        raise DataError(f"--model {options.model} is not there; expected a bundle folder or its .tar.gz")
    model = next(bundles(options.model), options.model)
    output = options.output if options.output is not None else model.parent / _FOLDER
    if output.resolve() in {model.resolve(), model.resolve().parent}:
        raise UsageError(
            f"--output {output} is where the model lies, which is never changed. What to do: name another folder, or "
            "leave --output out."
        )
    with _scratch(output) as scratch:
        source = open_bundle(model, scratch)
        handover = _mapping(options, source.plan)
        write_bundle(
            scratch / "model",
            source.plan,
            source.selection,
            source.weights,
            handover=handover,
            versions=source.manifest.versions,
        )
        pack_bundle(scratch / "model", scratch / ARCHIVE)
        bundle = open_bundle(scratch / "model", scratch)
        conditions = Conditions(memory_gb=options.memory_gb, full_size=options.full_size)
        rehearsal = rehearse(scratch / ARCHIVE, bundle, scratch, conditions, listener)
        report = output / (REPORT if rehearsal.passed else FAILED_REPORT)
        if rehearsal.passed:
            (scratch / ARCHIVE).replace(output / ARCHIVE)
            flush_to_disk(output)
            (output / FAILED_REPORT).unlink(missing_ok=True)
        write_record(report, rehearsal)
    return HandoverOutcome(
        rehearsal=rehearsal,
        archive=output / ARCHIVE if rehearsal.passed else None,
        report=report,
        renumbered=tuple(
            (label.name, label.value, value)
            for label, value in zip(source.plan.labels, handover.label_values, strict=True)
            if label.value != value
        ),
    )


@contextlib.contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Yield a folder on the output's disk, by its absolute path; the archive is moved to its place from there."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=output, prefix=".handover-")
    except OSError as error:
        raise ResourceError(
            f"{output} cannot be written ({error.strerror}). What to do: name a writable folder with --output."
        ) from None
    try:
        with folder as name:
            Path(name).chmod(0o711)  # the rehearsal's own user must come through
            yield Path(name).resolve()
    finally:
        with contextlib.suppress(OSError):
            output.rmdir()  # only where nothing is in it: a refusal leaves nothing behind


def _mapping(options: HandoverOptions, plan: Plan) -> Handover:
    values = tuple(label.value for label in plan.labels)
    wanted = tuple(range(1, len(values) + 1))
    handover = Handover(
        task=plan.task, input_slugs=options.input_slugs, output_slug=options.output_slug, label_values=wanted
    )
    if found := handover_defects(plan, handover):
        raise UsageError("the model cannot be handed over: " + "; ".join(found))
    if values != wanted and not options.renumber_labels:
        pairs = ", ".join(
            f"{label.name} {label.value} -> {value}" for label, value in zip(plan.labels, wanted, strict=True)
        )
        raise UsageError(
            f"the model's label values are 0, {', '.join(map(str, values))}; the platform's viewer wants values from 0 "
            f"on without a gap. What to do: see which values the output socket expects; if they are 0 to "
            f"{len(values)}, hand over with --renumber-labels, which writes {pairs}."
        )
    return handover
