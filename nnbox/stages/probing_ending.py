"""What follows training, measured for a time budget by the code that will do it, on made-up predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnbox.evaluation.scores import dice_of_case, score_case
from nnbox.geometry import Grid
from nnbox.imaging.io import read_header, read_image, read_labels, write_labels
from nnbox.imaging.label_values import to_consecutive
from nnbox.imaging.postprocess import apply_postprocessing
from nnbox.imaging.prepare import PreparedArrays, prepare
from nnbox.inference.export import labels_on_source, original_values
from nnbox.inference.label_map import label_map
from nnbox.inference.manner import Manner
from nnbox.inference.probabilities import average_probabilities, load_probabilities
from nnbox.network.device import card_errors
from nnbox.records.dataset import Case
from nnbox.records.plan import Plan
from nnbox.records.results import PostprocessingStep, Selection
from nnbox.stages.context import Context
from nnbox.stages.costs import EndingCosts
from nnbox.stages.full_card import MORE_MEMORY, Asked, answered
from nnbox.stages.job import Job
from nnbox.stages.members import Member
from nnbox.stages.packaging import expected_cases
from nnbox.stages.pool import run_all
from nnbox.stages.receipts import Receipts, Unit, file_state
from nnbox.stages.report import write_report
from nnbox.stages.scoring import scoring_task
from nnbox.submission.archive import write_submission
from nnbox.submission.bundle import open_bundle, pack_bundle, write_bundle
from nnbox.submission.check import check_submission
from nnbox.training.store import load_prepared

_MOST_REPEATS = 4


@dataclass(slots=True, kw_only=True, eq=False)
class Probed:
    """A configuration with random weights, and what it made of one case.

    Attributes:
        case: of middling size.
        member: with its one network, in the usual manner.
        manner: in which the card had room for the case.
        weights: of it.
        stored: the probabilities of the case.
        store: of prepared cases.
        previous: labels that a second stage is shown, or None.
    """

    case: str
    member: Member
    manner: Manner
    weights: Path
    stored: Path
    store: Path
    previous: NDArray[np.uint8] | None


def usual_seconds(work: Callable[[], None], allowed_seconds: float) -> float:
    """Return how long a piece of work takes: where there is time, the mean of a few after the first, which warms up."""
    began = time.monotonic()
    work()
    ends = [time.monotonic()]
    while ends[-1] - began < allowed_seconds and len(ends) < _MOST_REPEATS:
        work()
        ends.append(time.monotonic())
    return ends[0] - began if len(ends) == 1 else (ends[-1] - ends[0]) / (len(ends) - 1)


def measure_ending(context: Context, job: Job, probed: Mapping[str, Probed], allowed_seconds: float) -> EndingCosts:
    """Measure choosing, packaging, predicting and the report.

    Args:
        context: of the run.
        job: the planned task.
        probed: every configuration that is trained.
        allowed_seconds: no piece is repeated for longer.
    """
    costs = EndingCosts()
    for name, item in probed.items():
        _measure_test_case(context, job, item, allowed_seconds, costs)
        if job.plan.configuration(name).full_resolution:
            _measure_scoring(context, job, item, allowed_seconds, costs)
    _measure_model(job, probed, allowed_seconds, costs)
    some = next(iter(probed.values()))
    _start_processes(context, job, some)  # the first time starts the server that they are forked from
    costs.processes = usual_seconds(lambda: _start_processes(context, job, some), allowed_seconds)
    costs.test_cases = _count_test_cases(context, job, some.case)
    costs.report, costs.drawings = _measure_report(context, allowed_seconds)
    return costs


def _case(job: Job, name: str) -> Case:
    return next(item for item in job.taken.dataset.cases if item.name == name)


def _measure_test_case(context: Context, job: Job, probed: Probed, allowed_seconds: float, costs: EndingCosts) -> None:
    """Do with a training case what is done with a test case."""
    plan, configuration, case = job.plan, probed.member.configuration, _case(job, probed.case)
    paths = [context.root / path for path in case.images]
    image, grid = read_image(paths, replace_nonfinite=plan.choices.replace_nonfinite)
    arrays = prepare(image, None, grid, plan, configuration)
    found = _asked(context, job, probed, arrays)
    folder = probed.stored.parent
    written = folder / "predicted" / case.output_name

    def ask() -> None:
        _asked(context, job, probed, arrays)

    def beside() -> None:
        again, its_grid = read_image(paths, replace_nonfinite=plan.choices.replace_nonfinite)
        prepare(again, None, its_grid, plan, configuration)
        write_labels(written, original_values(arrays.placement.restore(found), plan.labels), its_grid)

    receipts = Receipts(root=folder, folder=folder / "receipts")
    unit = Unit(name="probe", version=1, inputs={"case": case.name}, outputs=(written,))

    def record() -> None:
        receipts.write(unit, seconds=0.0)
        receipts.is_done(unit)

    def archive() -> None:
        target = folder / "probe.zip"
        write_submission(target, {plan.task: [written]})
        check_submission(target, expected_cases(context.root, plan.task, [case], plan), scratch=folder)

    costs.asked[configuration.name] = usual_seconds(ask, allowed_seconds)
    costs.beside[configuration.name] = usual_seconds(beside, allowed_seconds)
    costs.receipt = max(costs.receipt, usual_seconds(record, allowed_seconds))
    costs.archived = max(costs.archived, usual_seconds(archive, allowed_seconds))


def _asked(context: Context, job: Job, probed: Probed, arrays: PreparedArrays) -> NDArray[np.unsignedinteger]:
    """Return the labels of a case, as a test case gets them; a card that is too full is asked for less."""

    def ask(manner: Manner) -> NDArray[np.unsignedinteger]:
        part = probed.member.at(manner).part(arrays.image, arrays.placement, probed.previous)
        with card_errors(job.device):
            return label_map([part], arrays.placement.crop.shape_vox)

    asked = Asked(case=probed.case, shape_vox=arrays.image.shape[1:], device=job.device, remedy=MORE_MEMORY)
    labels, probed.manner = answered(ask, probed.manner, asked, context.journal)
    return labels


def _measure_scoring(context: Context, job: Job, probed: Probed, allowed_seconds: float, costs: EndingCosts) -> None:
    """Make the label map of a case and score its reference against itself: random weights give no likely map."""
    case, plan = _case(job, probed.case), job.plan
    record = load_prepared(probed.store, case.name)
    count, step = len(plan.labels), PostprocessingStep(label=0)
    reference = to_consecutive(read_labels(context.root / str(case.label))[0], plan.labels)

    def load() -> None:
        to_consecutive(read_labels(context.root / str(case.label))[0], plan.labels)
        members = [load_probabilities(probed.stored), load_probabilities(probed.stored)]
        labels_on_source(average_probabilities(members), record.placement)

    def score() -> None:
        score_case(case.name, reference, reference, record.grid.spacing_mm, count, 1.0)

    def attempt() -> None:
        before = apply_postprocessing(reference.astype(np.uint8), (step,))
        after = apply_postprocessing(before, (step,))
        dice_of_case(reference, before, count)
        dice_of_case(reference, after, count)

    costs.loaded = max(costs.loaded, usual_seconds(load, allowed_seconds))
    costs.scored = max(costs.scored, usual_seconds(score, allowed_seconds))
    costs.tried = max(costs.tried, usual_seconds(attempt, allowed_seconds))


def _measure_model(job: Job, probed: Mapping[str, Probed], allowed_seconds: float, costs: EndingCosts) -> None:
    """Bundle, pack and open a model of one network per configuration that a candidate needs."""
    winner = next((name for name in probed if job.plan.configuration(name).full_resolution), None)
    if winner is None:
        return
    first = job.plan.configuration(winner).previous
    names = (winner,) if first is None else (winner, first)
    weights = {(name, 0): probed[name].weights for name in names}
    selection = _made_up_selection(job.plan, winner, names)
    folder = probed[winner].stored.parent
    model, packed = folder / "model", folder / "model.tar.gz"

    def work() -> None:
        write_bundle(model, job.plan, selection, weights)
        pack_bundle(model, packed)
        for path in (packed, *weights.values()):
            file_state(path)  # for the receipt
        open_bundle(model, folder)

    size = sum(path.stat().st_size for path in weights.values())
    costs.weight_byte = usual_seconds(work, allowed_seconds) / size


def _made_up_selection(plan: Plan, winner: str, names: tuple[str, ...]) -> Selection:
    return Selection(
        task=plan.task,
        candidate=winner,
        members=(winner,),
        folds=dict.fromkeys(names, (0,)),
        partial=True,
        mean_dice=None,
        mean_dice_per_label=tuple(None for _ in plan.labels),
        reason="to be measured",
        postprocessing=(),
        trials=(),
    )


def _start_processes(context: Context, job: Job, probed: Probed) -> None:
    """Start workers that read the task of a scoring and do nothing: they have the same to import as real ones."""
    task = scoring_task(context, job, (probed.member.configuration.name,), _case(job, probed.case))
    for _ in run_all(id, [task] * context.workers, workers=context.workers):
        pass


def _count_test_cases(context: Context, job: Job, middling: str) -> float:
    """Count the test cases by what they span in space, in units of a training case; a smaller one counts as one."""
    usual = _volume_mm3(read_header(context.root / _case(job, middling).images[0]).grid)
    grids = (read_header(context.root / case.images[0]).grid for case in job.taken.dataset.test_cases)
    return sum(max(1.0, _volume_mm3(grid) / usual) for grid in grids)


def _volume_mm3(grid: Grid) -> float:
    return float(np.prod(grid.shape_vox) * np.prod(grid.spacing_mm))


def _measure_report(context: Context, allowed_seconds: float) -> tuple[float, int]:
    """Write the report of the run so far; return how long it took, and how many drawings it has.

    A report that cannot be written is no reason not to train; the run's end will tell what is wrong with it.
    """
    pages: list[Path] = []
    began = time.monotonic()
    try:
        write_report(context.workspace, context.root)  # the first time imports what draws
        seconds = usual_seconds(lambda: pages.append(write_report(context.workspace, context.root)), allowed_seconds)
        return seconds, max(1, pages[0].read_text(encoding="utf-8").count("<svg"))
    except Exception:
        return time.monotonic() - began, 1
