"""A quick look at a folder, by names alone: enough to choose a verb."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnbox.errors import NnboxError
from nnbox.layouts.detect import detect, find_tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What lies in a folder.

    Attributes:
        labelled: training cases with labels.
        images: unlabelled images.
        sentence: the same in words.
    """

    labelled: int
    images: int
    sentence: str


def survey(root: Path) -> Survey:
    """Count labelled cases and unlabelled images below a root; nothing is read but names and JSON."""
    try:
        drafts = [detect(task) for task in find_tasks(root)]
    except NnboxError as error:
        return Survey(labelled=0, images=0, sentence=str(error))
    labelled = sum(len(draft.cases) for draft in drafts)
    images = sum(len(draft.test_cases) for draft in drafts)
    names = ", ".join(draft.task for draft in drafts)
    return Survey(
        labelled=labelled,
        images=images,
        sentence=f"{names}: {labelled} labelled cases and {images} images without a label",
    )
