"""What every stage of one task's run shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnbox.records.dataset import Case, Dataset, FileState, InputDigests
from nnbox.stages.claims import Claims
from nnbox.stages.journal import Journal
from nnbox.stages.receipts import Receipts
from nnbox.stages.refresh import Refresher
from nnbox.stages.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Where a run reads and writes, and whom it tells.

    Attributes:
        root: the data set's root.
        workspace: the output folder.
        receipts: what is done.
        journal: what happened.
        workers: worker processes a stage may use.
        refresher: keeps the run's report fresh.
        claims: what this run has to itself.
    """

    root: Path
    workspace: Workspace
    receipts: Receipts
    journal: Journal
    workers: int
    refresher: Refresher
    claims: Claims


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn:
    """The data set of a run with the digest of every file of it."""

    dataset: Dataset
    digests: InputDigests

    def image_digests(self, case: Case) -> dict[str, str]:
        """Digest of each image file of a case, by path; a header's data file counts as one."""
        return self._digests_of("image", case.images)

    def case_digests(self, case: Case) -> dict[str, str]:
        """Digests of a labelled case: its images and its label."""
        labels = () if case.label is None else (case.label,)
        return self.image_digests(case) | self._digests_of("label", labels)

    def states(self, root: Path, case: Case) -> dict[Path, FileState]:
        """Return what each file of a case was, its label and data files included; ``root`` is the data set's."""
        names = case.images if case.label is None else (*case.images, case.label)
        return self.digests.states(root, names)

    def _digests_of(self, kind: str, names: Sequence[str]) -> dict[str, str]:
        files = self.digests.files
        return {f"{kind} {file}": files[file].sha256 for name in names for file in self.digests.with_data(name)}


def open_context(root: Path, workspace: Workspace, journal: Journal, workers: int) -> Context:
    """Make the context of a task."""
    receipts = Receipts(root=workspace.root, folder=workspace.receipts)
    return Context(
        root=root,
        workspace=workspace,
        receipts=receipts,
        journal=journal,
        workers=workers,
        refresher=Refresher(workspace, root, journal),
        claims=Claims(workspace.claims),
    )
