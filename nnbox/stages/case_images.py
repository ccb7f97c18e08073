"""Cases as arrays to be looked at: the image from the data set, labels and predictions from the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError, NnboxError
from nnbox.geometry import Grid, Placement, tidy_spacing_mm
from nnbox.imaging.crop import nonzero_box
from nnbox.imaging.header import ImageReadError
from nnbox.imaging.io import read_image, read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.inference.export import labels_on_source
from nnbox.inference.probabilities import average_probabilities, load_probabilities
from nnbox.intake.grids import orientation
from nnbox.records.dataset import Case
from nnbox.records.plan import ConfigurationPlan, NormalizationScheme, Plan
from nnbox.records.results import Selection
from nnbox.report.facts import Pictured
from nnbox.report.images import CaseImages, window_of
from nnbox.report.ranking import ranked_cases, shown_cases
from nnbox.rules.resampling import new_shape
from nnbox.stages.run_files import RunFiles
from nnbox.stages.workspace import Workspace


def pictured_cases(run: RunFiles, root: Path | None) -> tuple[tuple[Pictured, ...], str | None]:
    """Return the worst, median and best case of the chosen candidate, or why they cannot be shown."""
    evidence, selection = run.crossvalidation, run.selection
    if evidence is None or selection is None or run.plan is None or run.dataset is None:
        return (), None
    names = [candidate.name for candidate in evidence.candidates]
    if selection.candidate not in names:
        return (), "the selection is not of this cross-validation."
    if root is None or not root.is_dir():
        where = "where the run does not say" if root is None else f"not at {root} any more"
        return (), f"the data set is {where}. Name its place with nnbox report --input."
    chosen = names.index(selection.candidate)
    cases = {case.name: case for case in run.dataset.cases}
    found = []
    for role, index in shown_cases(ranked_cases(evidence, selection, chosen)):
        name = evidence.candidates[chosen].cases[index].case
        case = cases.get(name)
        try:
            if case is None:
                raise DataError("it is no longer in the data set")
            images = validation_images(run.workspace, run.plan, root, case, selection)
        except (NnboxError, ImageReadError, OSError) as error:
            return (), f"{name} cannot be read ({error})."
        found.append(Pictured(role=role, index=index, images=images))
    return tuple(found), None


def validation_images(workspace: Workspace, plan: Plan, root: Path, case: Case, selection: Selection) -> CaseImages:
    """Return a labelled case with its out-of-fold prediction by the chosen networks, after post-processing.

    Raises:
        NnboxError: the stored prediction is missing or damaged.
        ImageReadError: the image or its reference cannot be read.
    """
    read = read_case(plan, root, case)
    place = placement_in(plan, read, plan.configuration(selection.members[0]))
    stored = [load_probabilities(workspace.validation(member, case.name)) for member in selection.members]
    labels = labels_on_source(average_probabilities(stored), place)
    return case_images(plan, read, apply_postprocessing(labels, selection.postprocessing))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadCase:
    """A case read from the data set: image (channel, z, y, x), its grid, and the reference as consecutive labels."""

    case: Case
    image: NDArray[np.float32]
    grid: Grid
    reference: NDArray[np.int16] | None


def read_case(plan: Plan, root: Path, case: Case) -> ReadCase:
    """Read a case.

    Raises:
        ImageReadError: the image or its reference cannot be read.
        DataError: the reference holds unknown labels.
    """
    image, grid = read_image([root / path for path in case.images], replace_nonfinite=plan.choices.replace_nonfinite)
    reference = None
    if case.label is not None:
        values, _ = read_labels(root / case.label)
        reference = to_consecutive(values, plan.labels)
    return ReadCase(case=case, image=image, grid=grid, reference=reference)


def placement_in(plan: Plan, read: ReadCase, configuration: ConfigurationPlan) -> Placement:
    """Return how a case lies in its source for a configuration: found anew, since prepared cases may be deleted."""
    box, _ = nonzero_box(np.transpose(read.image, (0, *(1 + axis for axis in plan.axis_order))))
    tidy = tidy_spacing_mm(read.grid.spacing_mm)
    z, y, x = (tidy[axis] for axis in plan.axis_order)
    first, second, third = configuration.resampling.target_spacing_mm
    return Placement(
        source_shape_vox=read.grid.shape_vox,
        axis_order=plan.axis_order,
        crop=box,
        crop_spacing_mm=(z, y, x),
        prepared_shape_vox=new_shape(box.shape_vox, (z, y, x), configuration.resampling.target_spacing_mm),
        prepared_spacing_mm=(z if first is None else first, second, third),
    )


def case_images(plan: Plan, read: ReadCase, prediction: NDArray[np.integer]) -> CaseImages:
    """Put a case together with a prediction (consecutive labels (z, y, x), source order) to be looked at."""
    image = np.nan_to_num(read.image, nan=0.0, posinf=0.0, neginf=0.0)
    colour = plan.dimension == 2 and len(image) == 3 and image.min() >= 0 and image.max() <= 255
    rule = plan.normalizations[0]
    limits = None
    if rule.scheme is NormalizationScheme.CT and rule.lower is not None and rule.upper is not None:
        limits = (rule.lower, rule.upper)
    return CaseImages(
        case=read.case.name,
        image=image.astype(np.uint8) if colour else image[0],
        channel="its three channels as colours" if colour else f"channel {plan.channels[0].name}",
        window=(0.0, 255.0) if colour else window_of(image[0], limits),
        reference=read.reference,
        prediction=prediction,
        spacing_mm=read.grid.spacing_mm,
        orientation=_letters(read.grid),
    )


def _letters(grid: Grid) -> str:
    found = orientation(grid)
    return found if grid.dimension == 3 else f"S{found}"
