"""What a report is made from: the records of a run, as far as it got."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nnbox.errors import Problem
from nnbox.records.dataset import Channel, Dataset, Label
from nnbox.records.events import Event
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint, Intensity
from nnbox.records.plan import Folds, Plan
from nnbox.records.results import CrossValidation, FoldResult, Selection
from nnbox.report.images import CaseImages


class State(StrEnum):
    """Where a run stands."""

    FINISHED = "finished"
    RUNNING = "running"
    UNFINISHED = "unfinished"
    FAILED = "failed"
    INSPECTED = "inspected"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The data set, as the data section shows it.

    Attributes:
        task, layout, dimension: of the data set.
        channels, labels: as in the data set.
        cases: measurements of every training case.
        intensities: one per channel, or None where they are not known.
        test_cases: number of images without labels.
        patients: number of known patients.
        problems: every finding about it.
        kept: whether ``fingerprint.json`` and ``dataset.json`` lie in the run's folder, so that numbers can name them.
    """

    task: str
    layout: str
    dimension: int
    channels: tuple[Channel, ...]
    labels: tuple[Label, ...]
    cases: tuple[CaseFingerprint, ...]
    intensities: tuple[Intensity, ...] | None
    test_cases: int
    patients: int
    problems: tuple[Problem, ...]
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The table of one training unit.

    Attributes:
        configuration, fold: which.
        columns: numbers by column of ``progress.csv``, one per epoch; None where undefined.
    """

    configuration: str
    fold: int
    columns: Mapping[str, tuple[float | None, ...]]

    @property
    def path(self) -> str:
        """The file, relative to the run's folder."""
        return f"training/{self.configuration}/fold_{self.fold}/progress.csv"

    def dice(self) -> tuple[float | None, ...]:
        """Return the mean over labels of each epoch's Dice, None where no label defines it."""
        names = [name for name in self.columns if name.startswith("dice_")]
        means: list[float | None] = []
        for values in zip(*(self.columns[name] for name in names), strict=True):
            found = [value for value in values if value is not None]
            means.append(sum(found) / len(found) if found else None)
        return tuple(means)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Units of one kind that are done, with the seconds each took."""

    kind: str
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictured:
    """A case of the chosen candidate to be shown, and why: worst, median or best."""

    role: str
    index: int
    images: CaseImages


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunFacts:
    """A run's records; None or empty where it did not get so far.

    Attributes:
        state: where the run stands.
        remark: how it ended, where it did not come to its end.
        made: when the report was made.
        version: of nnbox that makes it.
        dataset, fingerprint, plan, folds, crossvalidation, selection: its records.
        results: of every finished training unit.
        progress: of every training unit that was begun.
        work: what is done, from the receipts.
        digests: digest of each result file, by path.
        events: its log.
        pictured: cases to show.
        why_no_pictures: a sentence where there are none.
    """

    state: State
    remark: str | None
    made: datetime
    version: str
    dataset: Dataset | None
    fingerprint: Fingerprint | None
    plan: Plan | None
    folds: Folds | None
    crossvalidation: CrossValidation | None
    selection: Selection | None
    results: tuple[FoldResult, ...]
    progress: tuple[Progress, ...]
    work: tuple[Work, ...]
    digests: Mapping[str, str]
    events: tuple[Event, ...]
    pictured: tuple[Pictured, ...]
    why_no_pictures: str | None

    @property
    def chosen(self) -> int | None:
        """The place of the chosen candidate in the cross-validation, or None."""
        if self.crossvalidation is None or self.selection is None:
            return None
        names = [candidate.name for candidate in self.crossvalidation.candidates]
        return names.index(self.selection.candidate) if self.selection.candidate in names else None

    def last(self, event: str) -> Event | None:
        """Return the last event of a kind, or None."""
        return next((item for item in reversed(self.events) if item.event == event), None)


def data_facts(dataset: Dataset, fingerprint: Fingerprint) -> DataFacts:
    """Return the data section's facts of a run."""
    return DataFacts(
        task=dataset.task,
        layout=dataset.layout,
        dimension=dataset.dimension,
        channels=dataset.channels,
        labels=dataset.labels,
        cases=fingerprint.cases,
        intensities=fingerprint.intensities,
        test_cases=len(dataset.test_cases),
        patients=len({case.patient for case in dataset.cases if case.patient is not None}),
        problems=dataset.warnings,
        kept=True,
    )
