"""Every path of a run, spelt once. The README's output tree is this module in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROBED = ".probe-"
"""How the name of a folder begins in which a run measures what training costs."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The output folder of one task."""

    root: Path

    @property
    def dataset(self) -> Path:
        """The data-set record: what was found, and what the user decided about it."""
        return self.root / "dataset.json"

    @property
    def input_digests(self) -> Path:
        """Digest of every input file."""
        return self.root / "input_digests.json"

    @property
    def fingerprint(self) -> Path:
        """The data fingerprint."""
        return self.root / "fingerprint.json"

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.root / "plan.json"

    @property
    def folds(self) -> Path:
        """The cross-validation folds."""
        return self.root / "folds.json"

    @property
    def log(self) -> Path:
        """One JSON record per event."""
        return self.root / "log.jsonl"

    @property
    def report(self) -> Path:
        """The run report, one self-contained page."""
        return self.root / "report.html"

    def explanation(self, case: str) -> Path:
        """Picture of one explained case."""
        return self.root / "explained" / f"{case}.png"

    @property
    def claims(self) -> Path:
        """What runs that share this folder have to themselves just now."""
        return self.root / "claims"

    @property
    def receipts(self) -> Path:
        """What is done, with digests of inputs and outputs."""
        return self.root / "receipts"

    @property
    def crossvalidation(self) -> Path:
        """Every candidate's evidence."""
        return self.root / "crossvalidation.json"

    @property
    def selection(self) -> Path:
        """What is used for test cases, and why."""
        return self.root / "selection.json"

    @property
    def model(self) -> Path:
        """The model bundle, as a folder."""
        return self.root / "model"

    @property
    def model_archive(self) -> Path:
        """The model bundle, as one file."""
        return self.root / "model.tar.gz"

    @property
    def predictions(self) -> Path:
        """Label maps of the test images."""
        return self.root / "predictions"

    def submission(self, task: str) -> Path:
        """The result archive."""
        return self.root / "submission" / f"{task}.zip"

    def store(self, name: str) -> Path:
        """Prepared cases of one store (``2d``, ``3d_fullres``, ``3d_lowres``)."""
        return self.root / "prepared" / name

    @property
    def time_budget(self) -> Path:
        """How trainings were laid out for a time budget, and what was measured for it."""
        return self.root / "time_budget.json"

    def probe(self, run: str) -> Path:
        """What one run trains for a moment to measure it, and removes."""
        return self.root / "prepared" / f"{PROBED}{run}"

    @property
    def previous(self) -> Path:
        """Out-of-fold first-stage predictions on the full-resolution prepared grid."""
        return self.root / "prepared" / "3d_cascade_previous"

    def fold(self, configuration: str, fold: int) -> Path:
        """Progress, checkpoint and weights of one training unit."""
        return self.root / "training" / configuration / f"fold_{fold}"

    def network_layout(self, configuration: str, fold: int) -> Path:
        """How one training unit was laid out for a time budget."""
        return self.fold(configuration, fold) / "layout.json"

    def weights(self, configuration: str, fold: int) -> Path:
        """Final weights of one training unit."""
        return self.fold(configuration, fold) / "weights.safetensors"

    def fold_result(self, configuration: str, fold: int) -> Path:
        """The record of one finished training unit."""
        return self.fold(configuration, fold) / "result.json"

    def validation(self, configuration: str, case: str) -> Path:
        """Stored out-of-fold probabilities of one case."""
        return self.root / "validation" / configuration / f"{case}.npz"

    def scores(self, candidate: str, case: str) -> Path:
        """Scores of one candidate on one case."""
        return self.root / "validation" / "scores" / candidate / f"{case}.json"
