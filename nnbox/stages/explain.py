"""``explain``: what was done to one validation or test case, step by step, with a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.errors import DataError, UsageError
from nnbox.evaluation.scores import dice_of_case
from nnbox.files import atomic_write_bytes
from nnbox.geometry import Placement
from nnbox.imaging.components import component_counts
from nnbox.imaging.header import ImageReadError
from nnbox.imaging.io import read_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.inference.export import labels_on_source
from nnbox.inference.probabilities import average_probabilities, load_probabilities
from nnbox.inference.tiles import tile_starts
from nnbox.intake.grids import describe
from nnbox.records.dataset import Case, Dataset
from nnbox.records.plan import ConfigurationPlan, Folds, NormalizationScheme, Plan
from nnbox.records.results import Selection
from nnbox.report.overlays import contact_sheet
from nnbox.rules.augmentation import mirror_axes
from nnbox.rules.resampling import separate_axis
from nnbox.stages.case_images import ReadCase, case_images, placement_in, read_case
from nnbox.stages.run_files import RunFiles, read_run, workspaces

Step = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was done to a case.

    Attributes:
        case: its name.
        steps: (step, what was done), in order.
        picture: the PNG with the case's image, labels and prediction.
        has_reference: whether prediction and reference are compared in it.
    """

    case: str
    steps: tuple[Step, ...]
    picture: Path
    has_reference: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """The records that an explanation needs."""

    files: RunFiles
    dataset: Dataset
    plan: Plan
    folds: Folds
    selection: Selection
    root: Path


def explain(output: Path, name: str, root: Path | None, picture: Path | None) -> Explanation:
    """Explain a case of a finished run.

    Args:
        output: the run's folder.
        name: the case.
        root: the data set; None: where the run says it was.
        picture: where the PNG goes; None: ``explained/<case>.png`` in the run's folder.

    Raises:
        UsageError: no run, or none that got so far, or no such case.
        DataError: the case's files cannot be read any more.
    """
    run, case = _find(output, name, root)
    try:
        read = read_case(run.plan, run.root, case)
    except ImageReadError as failure:
        raise DataError(
            f"{failure.path}: {failure.what}; expected {failure.expected}. What to do: name the data set's place with "
            "--input, or put the file back."
        ) from None
    members = [run.plan.configuration(item) for item in run.selection.members]
    steps: list[Step] = [("case", _identity(run, case, read))]
    places = [placement_in(run.plan, read, item) for item in members]
    steps.append(("crop", _crop(places[0])))
    steps.append(("intensities", _intensities(run.plan)))
    for item in _with_first_stages(run.plan, members):
        steps.extend(_configuration(run, case, item, placement_in(run.plan, read, item)))
    prediction, more = _tested(run, case) if case.label is None else _validated(run, read, places[0])
    steps.extend(more)
    target = picture or run.files.workspace.explanation(case.name)
    atomic_write_bytes(target, contact_sheet(case_images(run.plan, read, prediction)))
    return Explanation(case=case.name, steps=tuple(steps), picture=target, has_reference=case.label is not None)


def _find(output: Path, name: str, root: Path | None) -> tuple[_Run, Case]:
    known: list[str] = []
    for workspace in workspaces(output):
        files = read_run(workspace)
        if files.dataset is None:
            continue
        cases = {case.name: case for case in (*files.dataset.cases, *files.dataset.test_cases)}
        known.extend(cases)
        if name in cases:
            place = root or files.root
            if files.plan is None or files.folds is None or files.selection is None:
                raise UsageError(f"the run in {workspace.root} has selected no model yet. What to do: finish it first.")
            if place is None or not place.is_dir():
                raise DataError(f"the data set is not at {place}. What to do: name its place with --input.")
            run = _Run(
                files=files,
                dataset=files.dataset,
                plan=files.plan,
                folds=files.folds,
                selection=files.selection,
                root=place,
            )
            return run, cases[name]
    some = ", ".join(sorted(known)[:5])
    raise UsageError(f"{output} has no case {name}. What to do: name one of its {len(known)} cases, e.g. {some}.")


def _identity(run: _Run, case: Case, read: ReadCase) -> str:
    if case.label is not None:
        fold = run.folds.fold_of(case.name)
        kind = f"training case; fold {fold} validates it, so that networks of fold {fold} have not seen it"
    else:
        kind = "test image without a reference"
    size = " x ".join(map(str, read.grid.shape_vox))
    return f"{kind}. {', '.join(case.images)}: {size} voxels (z, y, x), {describe(read.grid)}"


def _crop(place: Placement) -> str:
    """Describe the crop, in working order."""
    whole = [place.source_shape_vox[axis] for axis in place.axis_order]
    kept = math.prod(place.crop.shape_vox) / math.prod(whole)
    order = "".join("zyx"[axis] for axis in place.axis_order)
    moved = "" if order == "zyx" else f"axes reordered to {', '.join(order)}; "
    if kept == 1:
        return f"{moved}nothing is cut off: the image is non-zero up to its borders"
    spans = " x ".join(f"{a}–{b - 1}" for a, b in zip(place.crop.start, place.crop.stop, strict=True))
    return f"{moved}voxels {spans} hold all that is not zero: {100 * kept:.1f} % of the image is kept"


def _intensities(plan: Plan) -> str:
    parts = []
    for channel, rule in zip(plan.channels, plan.normalizations, strict=True):
        if rule.scheme is NormalizationScheme.CT:
            words = f"clipped to {rule.lower:g} … {rule.upper:g}, minus {rule.mean:g}, divided by {rule.sd:g}"
        else:
            where = "of the non-zero voxels, 0 outside" if rule.use_nonzero_mask else "of the crop"
            words = f"minus the mean, divided by the standard deviation {where}"
        parts.append(f"{channel.name}: {words}")
    return "; ".join(parts)


def _with_first_stages(plan: Plan, members: list[ConfigurationPlan]) -> list[ConfigurationPlan]:
    names = {item.name for item in members} | {item.previous for item in members}
    return [item for item in plan.configurations if item.name in names]


def _configuration(run: _Run, case: Case, item: ConfigurationPlan, place: Placement) -> list[Step]:
    """Describe what one configuration did: resampling, tiles, networks."""
    before, after = (" x ".join(map(str, shape)) for shape in (place.crop.shape_vox, place.prepared_shape_vox))
    spacing = " x ".join(f"{value:.4g}" for value in place.prepared_spacing_mm)
    rule = item.resampling
    apart = separate_axis(place.crop_spacing_mm, rule.target_spacing_mm, rule.separate_axis_threshold)
    how = "" if apart is None else f"; axis {apart} by nearest neighbour"
    same = place.crop.shape_vox == place.prepared_shape_vox
    resampled = f"not resampled: {before} voxels" if same else f"{before} -> {after} voxels of {spacing} mm{how}"
    tiles, sizes = tile_count(item, place)
    passes = 2 ** len(mirror_axes(run.plan, item.topology.dimension))
    if case.label is not None:
        fold = run.folds.fold_of(case.name)
        networks, count = f"the network of fold {fold}", 1
    else:
        folds = run.selection.folds[item.name]
        networks, count = f"the networks of folds {', '.join(map(str, folds))}", len(folds)
    patch = " x ".join(map(str, item.patch_size))
    stage = "" if item.name in run.selection.members else " (first stage of the cascade)"
    words = (
        f"{tiles} tiles of {patch} voxels ({sizes}), {passes} mirrored passes each, by {networks}: "
        f"{tiles * passes * count} passes"
    )
    return [(f"{item.name}{stage}: resample", resampled), (f"{item.name}: predict", words)]


def tile_count(item: ConfigurationPlan, place: Placement) -> tuple[int, str]:
    """Return how many tiles cover a prepared case, in all and per axis in words."""
    patch = (1, *item.patch_size) if item.topology.dimension == 2 else item.patch_size
    counts = [
        len(tile_starts(max(size, length), length))
        for size, length in zip(place.prepared_shape_vox, patch, strict=True)
    ]
    return math.prod(counts), " x ".join(map(str, counts))


def _validated(run: _Run, read: ReadCase, place: Placement) -> tuple[NDArray[np.integer], list[Step]]:
    """Return the final out-of-fold map of a labelled case, and how it came about."""
    selection, plan = run.selection, run.plan
    stored = [run.files.workspace.validation(member, read.case.name) for member in selection.members]
    raw = labels_on_source(average_probabilities([load_probabilities(path) for path in stored]), place)
    final = apply_postprocessing(raw, selection.postprocessing)
    steps: list[Step] = [("combine", _combined(selection))]
    steps.append(("post-processing", _postprocessed(run, raw, final)))
    if read.reference is not None:
        before, after = (dice_of_case(read.reference, labels, len(plan.labels)) for labels in (raw, final))
        words = []
        for label, old, new in zip(plan.labels, before, after, strict=True):
            change = "" if old == new else f" (before post-processing {_said(old)})"
            words.append(f"{label.name} {_said(new)}{change}")
        steps.append(("Dice", ", ".join(words)))
    return final, steps


def _tested(run: _Run, case: Case) -> tuple[NDArray[np.integer], list[Step]]:
    """Return the written prediction of a test image, and how it came about."""
    path = run.files.workspace.predictions / case.output_name
    try:
        values, _ = read_labels(path)
    except ImageReadError:
        raise UsageError(f"{path} is not there: {case.name} is not predicted. What to do: finish the run.") from None
    labels = to_consecutive(values, run.plan.labels)
    counts = ", ".join(
        f"{label.name} {int((labels == index).sum())} voxels" for index, label in enumerate(run.plan.labels, start=1)
    )
    applied = [_step_words(run.plan, step.label) for step in run.selection.postprocessing]
    return labels, [
        ("combine", _combined(run.selection)),
        ("post-processing", ", then ".join(applied) or "none was selected"),
        ("prediction", f"{path.name}: {counts}"),
    ]


def _combined(selection: Selection) -> str:
    if len(selection.members) == 1:
        return f"probabilities of {selection.members[0]} back to the image's own grid; the most probable class"
    return f"mean of the probabilities of {' and '.join(selection.members)} on the image's grid; the likeliest class"


def _postprocessed(run: _Run, raw: NDArray[np.unsignedinteger], final: NDArray[np.unsignedinteger]) -> str:
    if not run.selection.postprocessing:
        return "none was selected"
    count = len(run.plan.labels)
    before, after = component_counts(raw, count), component_counts(final, count)
    words = []
    for index, label in enumerate(run.plan.labels):
        removed = int(((raw == index + 1) & (final != index + 1)).sum())
        words.append(f"{label.name}: {before[index]} -> {after[index]} components, {removed} voxels removed")
    applied = ", then ".join(_step_words(run.plan, step.label) for step in run.selection.postprocessing)
    return f"{applied}. {'; '.join(words)}"


def _step_words(plan: Plan, label: int) -> str:
    return f"only the largest component of {'all foreground' if label == 0 else plan.labels[label - 1].name} is kept"


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
