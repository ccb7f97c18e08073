"""A run's files read back, as far as the run got: for the report, for ``status`` and for ``explain``."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nnbox.errors import RecordError, UsageError
from nnbox.records.codec import Versioned, read_record
from nnbox.records.dataset import Dataset
from nnbox.records.events import Event, read_events
from nnbox.records.fingerprint import Fingerprint
from nnbox.records.plan import Folds, Plan
from nnbox.records.results import CrossValidation, FoldResult, Selection
from nnbox.report.facts import Progress, Work
from nnbox.stages.receipts import Receipt, Receipts
from nnbox.stages.workspace import Workspace

_Record = TypeVar("_Record", bound=Versioned)
_FOLD = re.compile(r"fold_(\d+)$")
_WORK = ("preprocess", "training", "validation", "prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """The records of a run's folder; None or empty where there is no such file."""

    workspace: Workspace
    dataset: Dataset | None
    fingerprint: Fingerprint | None
    plan: Plan | None
    folds: Folds | None
    crossvalidation: CrossValidation | None
    selection: Selection | None
    results: tuple[FoldResult, ...]
    progress: tuple[Progress, ...]
    events: tuple[Event, ...]

    @property
    def root(self) -> Path | None:
        """The data set's folder, as the last start of the run named it."""
        starts = [event for event in self.events if event.event == "start" and "root" in event.facts]
        return Path(starts[-1].facts["root"]) if starts else None

    @property
    def task(self) -> str:
        """The task's name, else the folder's."""
        return self.dataset.task if self.dataset is not None else self.workspace.root.resolve().name


def workspaces(output: Path) -> tuple[Workspace, ...]:
    """Return the output folder of each task that a run wrote below ``output``: itself, or its subfolders.

    Raises:
        UsageError: there is no run.
    """
    for folders in ([output], sorted(path for path in output.iterdir() if path.is_dir()) if output.is_dir() else []):
        found = tuple(Workspace(folder) for folder in folders if _is_run(Workspace(folder)))
        if found:
            return found
    raise UsageError(
        f"{output} holds no run: neither a log nor a plan. What to do: name the --output folder of nnbox train."
    )


def _is_run(workspace: Workspace) -> bool:
    if workspace.plan.is_file() or workspace.dataset.is_file():
        return True
    return any(event.event == "start" for event in read_events(workspace.log))


def read_run(workspace: Workspace) -> RunFiles:
    """Read everything of a run that is there.

    Raises:
        RecordError: a record is there but cannot be read.
    """
    return RunFiles(
        workspace=workspace,
        dataset=_read(workspace.dataset, Dataset),
        fingerprint=_read(workspace.fingerprint, Fingerprint),
        plan=_read(workspace.plan, Plan),
        folds=_read(workspace.folds, Folds),
        crossvalidation=_read(workspace.crossvalidation, CrossValidation),
        selection=_read(workspace.selection, Selection),
        results=tuple(read_record(path, FoldResult) for path in _unit_files(workspace, "result.json")),
        progress=tuple(
            read_progress(path) for path in _unit_files(workspace, "progress.csv") if _columns(path) is not None
        ),
        events=read_events(workspace.log),
    )


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    return read_record(path, kind) if path.exists() else None


def _unit_files(workspace: Workspace, name: str) -> list[Path]:
    """Return a file of every training unit: configurations as planned come by name, folds by number."""
    found = [path for path in (workspace.root / "training").glob(f"*/fold_*/{name}") if _FOLD.search(path.parent.name)]
    return sorted(found, key=lambda path: (path.parent.parent.name, _fold(path)))


def _fold(path: Path) -> int:
    found = _FOLD.search(path.parent.name)
    return int(found.group(1)) if found else -1


def read_progress(path: Path) -> Progress:
    """Read the table of one training unit.

    Raises:
        RecordError: it is no table of numbers.
    """
    columns = _columns(path)
    if columns is None:
        raise RecordError(f"{path} is no table of epochs. What to do: remove the folder it lies in and train again")
    return Progress(configuration=path.parent.parent.name, fold=_fold(path), columns=columns)


def _columns(path: Path) -> dict[str, tuple[float | None, ...]] | None:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            names, *rows = list(csv.reader(stream))
        values = [tuple(None if cell == "" else float(cell) for cell in row) for row in rows]
        by_column = list(zip(*values, strict=True)) if values else [()] * len(names)
        return dict(zip(names, by_column, strict=True))
    except (OSError, ValueError):
        return None


def work_done(workspace: Workspace) -> tuple[Work, ...]:
    """Return the seconds of every unit that left a receipt, by kind."""
    receipts = Receipts(root=workspace.root, folder=workspace.receipts)
    found = []
    for kind in _WORK:
        read = [receipts.read(name) for name in receipts.names(kind)]
        if seconds := tuple(receipt.seconds for receipt in read if receipt is not None):
            found.append(Work(kind=kind, seconds=seconds))
    return tuple(found)


def result_digests(workspace: Workspace) -> dict[str, str]:
    """Return the digest of each file that training, packaging and prediction left, from their receipts."""
    receipts = Receipts(root=workspace.root, folder=workspace.receipts)
    names = [*receipts.names("training"), "model", *receipts.names("prediction")]
    found: list[Receipt] = [receipt for name in names if (receipt := receipts.read(name)) is not None]
    return {path: state.sha256 for receipt in found for path, state in receipt.outputs.items()}
