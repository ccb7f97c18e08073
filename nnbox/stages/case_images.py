"""Cases as arrays to be looked at: the image from the data set, labels and predictions from the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import NnboxError
from nnbox.geometry import Grid
from nnbox.imaging.header import ImageReadError
from nnbox.imaging.io import read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.inference.export import labels_on_source
from nnbox.inference.probabilities import average_probabilities, load_probabilities
from nnbox.intake.grids import orientation
from nnbox.records.codec import read_record
from nnbox.records.dataset import Case
from nnbox.records.plan import NormalizationScheme, Plan
from nnbox.records.prepared import PreparedCase
from nnbox.report.facts import Pictured
from nnbox.report.images import CaseImages, window_of
from nnbox.report.ranking import shown_cases
from nnbox.stages.run_files import RunFiles
from nnbox.stages.workspace import Workspace
from nnbox.training.store import case_record


def pictured_cases(run: RunFiles, root: Path | None) -> tuple[tuple[Pictured, ...], str | None]:
    """Return the worst, median and best case of the chosen candidate, or why they cannot be shown."""
    if run.crossvalidation is None or run.selection is None or run.plan is None or run.dataset is None:
        return (), None
    names = [candidate.name for candidate in run.crossvalidation.candidates]
    if run.selection.candidate not in names:
        return (), "the selection is not of this cross-validation."
    if root is None:
        return (), "the run does not say where its data set lies. Name the place with nnbox report --input."
    if not root.is_dir():
        return (), f"the data set is not at {root} any more. Name its place with nnbox report --input."
    winner = run.crossvalidation.candidates[names.index(run.selection.candidate)]
    cases = {case.name: case for case in run.dataset.cases}
    found = []
    for role, index in shown_cases(winner):
        case = cases[winner.cases[index].case]
        try:
            images = validation_images(run.workspace, run.plan, root, case, winner.members)
        except (NnboxError, ImageReadError, OSError) as error:
            return (), f"{case.name} cannot be read ({error})."
        found.append(Pictured(role=role, index=index, images=images))
    return tuple(found), None


def validation_images(workspace: Workspace, plan: Plan, root: Path, case: Case, members: Sequence[str]) -> CaseImages:
    """Return a labelled case with its out-of-fold prediction by some members, before post-processing.

    Raises:
        NnboxError: the prediction or the prepared case's record is missing or damaged.
        ImageReadError: the image or its reference cannot be read.
    """
    prediction = validation_labels(workspace, plan, case.name, members)
    values, _ = read_labels(root / str(case.label))
    return case_images(plan, root, case, to_consecutive(values, plan.labels), prediction)


def validation_labels(
    workspace: Workspace, plan: Plan, case: str, members: Sequence[str]
) -> NDArray[np.unsignedinteger]:
    """Return the out-of-fold label map of a case, consecutive labels (z, y, x) in source order.

    Raises:
        NnboxError: see `validation_images`.
    """
    record = read_record(case_record(workspace.store(plan.configuration(members[0]).store), case), PreparedCase)
    mean = average_probabilities([load_probabilities(workspace.validation(member, case)) for member in members])
    return labels_on_source(mean, record.placement)


def case_images(
    plan: Plan,
    root: Path,
    case: Case,
    reference: NDArray[np.integer] | None,
    prediction: NDArray[np.integer],
) -> CaseImages:
    """Read a case's image and put it together with its labels (consecutive, (z, y, x), source order)."""
    image, grid = read_image([root / path for path in case.images], replace_nonfinite=True)
    colour = plan.dimension == 2 and len(image) == 3 and image.min() >= 0 and image.max() <= 255
    rule = plan.normalizations[0]
    limits = None
    if rule.scheme is NormalizationScheme.CT and rule.lower is not None and rule.upper is not None:
        limits = (rule.lower, rule.upper)
    return CaseImages(
        case=case.name,
        image=image.astype(np.uint8) if colour else image[0],
        channel="its three channels as colours" if colour else f"channel {plan.channels[0].name}",
        window=(0.0, 255.0) if colour else window_of(image[0], limits),
        reference=reference,
        prediction=prediction,
        spacing_mm=grid.spacing_mm,
        orientation=_letters(grid),
    )


def _letters(grid: Grid) -> str:
    found = orientation(grid)
    return found if grid.dimension == 3 else f"S{found}"
