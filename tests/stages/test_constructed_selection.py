"""Selection and post-processing on cross-validations made by hand: label maps whose outcome is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nnbox.geometry import Box, Grid, Placement
from nnbox.imaging.components import component_counts
from nnbox.imaging.examine import file_state
from nnbox.imaging.io import write_labels
from nnbox.inference.probabilities import store_probabilities
from nnbox.network.device import Device
from nnbox.recipes import RECIPES
from nnbox.records.codec import read_record, write_record
from nnbox.records.dataset import Case, Channel, Choices, Dataset, FileState, InputDigests, Label
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint
from nnbox.records.plan import Folds
from nnbox.records.prepared import PreparedCase
from nnbox.records.results import CrossValidation
from nnbox.rules.planning import make_plan
from nnbox.stages.context import Context, TakenIn, open_context
from nnbox.stages.job import Job
from nnbox.stages.journal import Journal
from nnbox.stages.options import TrainOptions
from nnbox.stages.selection import select
from nnbox.stages.workspace import Workspace

SHAPE = (6, 16, 16)
CASES = tuple(f"case_{index}" for index in range(5))
ALL = (0, 1, 2, 3, 4)
GRID = Grid(
    shape_vox=SHAPE,
    spacing_mm=(1.0, 1.0, 1.0),
    origin_xyz_mm=(0.0, 0.0, 0.0),
    direction_xyz=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
)
PLACEMENT = Placement(
    source_shape_vox=SHAPE,
    axis_order=(0, 1, 2),
    crop=Box(start=(0, 0, 0), stop=SHAPE),
    crop_spacing_mm=(1.0, 1.0, 1.0),
    prepared_shape_vox=SHAPE,
    prepared_spacing_mm=(1.0, 1.0, 1.0),
)


def _map(*boxes):
    """A label map of boxes (label, z, y, x), each a cube of three voxels from that corner."""
    labels = np.zeros(SHAPE, np.int32)
    for label, z, y, x in boxes:
        labels[z : z + 3, y : y + 3, x : x + 3] = label
    return labels


def _soft(labels, count, sure=0.9):
    """Probabilities that are ``sure`` of a map; the rest goes to background."""
    soft = np.zeros((count + 1, *SHAPE), np.float32)
    for label in range(count + 1):
        soft[label][labels == label] = sure
    soft[0] += 1 - soft.sum(axis=0)
    return soft


@dataclass(frozen=True)
class Made:
    context: Context
    job: Job

    def probabilities(self, configuration, case, soft):
        store_probabilities(self.context.workspace.validation(configuration, case), np.ascontiguousarray(soft))

    def predict(self, configuration, maps, sure=0.9):
        for case, labels in zip(CASES, maps, strict=True):
            self.probabilities(configuration, case, _soft(labels, len(self.job.plan.labels), sure))

    def select(self, **complete):
        return select(self.context, self.job, complete)

    @property
    def evidence(self):
        return read_record(self.context.workspace.crossvalidation, CrossValidation)


@pytest.fixture
def make(tmp_path, listener):
    """Call with the reference maps of the five cases: a planned task whose networks seem to be trained."""

    def made(references, *, recipe="2019", labels=2):
        root, workspace = tmp_path / "Task99_Made", Workspace(tmp_path / "out")
        workspace.root.mkdir()
        for case, reference in zip(CASES, references, strict=True):
            write_labels(root / "labelsTr" / f"{case}.nii.gz", reference, GRID)
            for store in ("2d", "3d_fullres", "3d_lowres"):
                record = PreparedCase(name=case, grid=GRID, placement=PLACEMENT, class_voxels=(1,) * labels)
                write_record(workspace.store(store) / f"{case}.json", record)
        fingerprint = _fingerprint(references, labels)
        return Made(
            context=open_context(root, workspace, Journal(None, listener), 1),
            job=Job(
                taken=_taken(root, fingerprint),
                fingerprint=fingerprint,
                plan=make_plan(fingerprint, recipe=recipe, planning_memory_gb=0.0015, choices=Choices()),
                folds=Folds(validation=tuple((case,) for case in CASES), origin="made"),
                recipe=RECIPES[recipe],
                options=TrainOptions(input=root, output=workspace.root),
                device=Device(name="cpu", description="", memory_bytes=None),
                configurations=("2d", "3d_fullres"),
            ),
        )

    return made


def _fingerprint(references, labels):
    return Fingerprint(
        task="Task99_Made",
        dimension=3,
        channels=(Channel(name="MR", is_ct=False),),
        labels=tuple(Label(value=value, name=f"label {value}") for value in range(1, labels + 1)),
        cases=tuple(
            CaseFingerprint(
                name=case,
                source_shape_vox=SHAPE,
                shape_vox=SHAPE,
                spacing_mm=(1.0, 1.0, 1.0),
                crop_ratio=1.0,
                label_voxels=(1,) * labels,
                components=component_counts(reference, labels),
            )
            for case, reference in zip(CASES, references, strict=True)
        ),
        intensities=None,
    )


def _taken(root, fingerprint):
    cases = tuple(
        Case(name=case, images=(f"imagesTr/{case}.nii.gz",), label=f"labelsTr/{case}.nii.gz", output_name=case)
        for case in CASES
    )
    dataset = Dataset(
        task=fingerprint.task,
        layout="made",
        dimension=3,
        channels=fingerprint.channels,
        labels=fingerprint.labels,
        cases=cases,
        test_cases=(),
        folds=None,
        choices=Choices(),
        warnings=(),
    )
    image = FileState(size_bytes=1, modified_ns=1, sha256="0" * 64)  # none is read
    files = {path: image for case in cases for path in case.images}
    files |= {case.label: file_state(root / case.label) for case in cases}
    return TakenIn(dataset=dataset, digests=InputDigests(files=files))


REFERENCE = _map((1, 0, 0, 0), (2, 3, 8, 8))


def test_the_pair_wins_where_each_configuration_misses_what_the_other_finds(make):
    made = make([REFERENCE] * 5)
    # Sure of the label it knows, and only just of the background where it misses the other.
    for name, known in (("2d", 1), ("3d_fullres", 2)):
        other = 3 - known
        soft = _soft(np.where(np.equal(REFERENCE, other), 0, REFERENCE), 2)
        missed = np.equal(REFERENCE, other)
        soft[:, missed] = 0
        soft[0, missed], soft[other, missed] = 0.55, 0.45
        for case in CASES:
            made.probabilities(name, case, soft)
    selection = made.select(**{"2d": ALL, "3d_fullres": ALL})
    assert selection.candidate == "2d+3d_fullres"
    assert selection.members == ("2d", "3d_fullres")
    assert (selection.mean_dice, selection.mean_dice_per_label) == (1.0, (1.0, 1.0))
    by_name = {item.name: item for item in made.evidence.candidates}
    assert by_name["2d"].mean_dice_per_label == (1.0, 0.0)
    assert by_name["3d_fullres"].mean_dice_per_label == (0.0, 1.0)


def test_a_tie_goes_to_the_cheaper_of_the_single_configurations(make):
    made = make([REFERENCE] * 5)
    names = ("2d", "3d_fullres", "3d_cascade")
    for name in (*names, "3d_lowres"):
        made.predict(name, [REFERENCE] * 5)
    selection = made.select(**dict.fromkeys((*names, "3d_lowres"), ALL))
    assert len(made.evidence.candidates) == 6
    assert {item.mean_dice for item in made.evidence.candidates} == {1.0}
    networks = {item.name: item.networks for item in made.evidence.candidates}
    assert networks["3d_cascade"] == 10  # its first stage counts
    assert networks["2d+3d_cascade"] == 15
    alone = [item for item in made.evidence.candidates if item.networks == 5]
    assert selection.candidate == min(alone, key=lambda item: item.operations_per_mm3).name
    assert "tied within 1e-06" in selection.reason


def test_a_label_absent_from_reference_and_prediction_is_left_out_and_one_only_predicted_counts_0(make):
    without = _map((1, 0, 0, 0))
    made = make([REFERENCE, without, without, without, without])
    # 2d invents label 2 in one case without it: 1 and 0 there. 3d never does, but misses a third of label 1.
    made.predict("2d", [REFERENCE, REFERENCE, without, without, without])
    smaller = [np.where(np.indices(SHAPE)[0] == 2, 0, labels) for labels in (REFERENCE, *[without] * 4)]
    made.predict("3d_fullres", smaller)
    made.select(**{"2d": ALL, "3d_fullres": ALL})
    by_name = {item.name: item for item in made.evidence.candidates}
    assert by_name["2d"].mean_dice_per_label == (1.0, 0.5)
    third_off = 2 * 18 / (18 + 27)
    assert by_name["3d_fullres"].mean_dice_per_label == (pytest.approx(third_off), 1.0)
    assert by_name["3d_fullres"].mean_dice == pytest.approx((third_off + 1) / 2)
    assert [item.labels[1].dice for item in by_name["3d_fullres"].cases] == [1.0, None, None, None, None]


def test_with_folds_missing_candidates_are_compared_only_on_the_cases_all_of_them_have(make):
    made = make([REFERENCE] * 5)
    nothing = _map()
    # On all five cases 3d would lose; on the two that 2d has as well it wins.
    made.predict("3d_fullres", [REFERENCE, REFERENCE, nothing, nothing, nothing])
    made.predict("2d", [nothing, REFERENCE, nothing, nothing, nothing])
    selection = made.select(**{"2d": (0, 1), "3d_fullres": ALL})
    assert made.evidence.folds_complete == (0, 1)
    assert made.evidence.partial
    assert selection.partial
    for item in made.evidence.candidates:
        assert [score.case for score in item.cases] == ["case_0", "case_1"]
    assert (selection.candidate, selection.mean_dice) == ("3d_fullres", 1.0)
    assert selection.folds == {"3d_fullres": ALL}
    assert made.evidence.left_out["2d"] == "trained in 2 of 5 folds: (0, 1)"
    assert made.evidence.left_out["3d_cascade"] == "not trained"


def test_a_configuration_without_a_fold_in_common_is_no_candidate(make):
    made = make([REFERENCE] * 5)
    for name in ("2d", "3d_fullres"):
        made.predict(name, [REFERENCE] * 5)
    selection = made.select(**{"2d": (4,), "3d_fullres": (0, 1)})
    assert [item.name for item in made.evidence.candidates] == ["3d_fullres"]
    assert "none of them in common" in made.evidence.left_out["2d"]
    assert selection.reason.startswith("the only candidate")
    assert made.select(**{"3d_lowres": ALL}) is None


STRAY = _map((1, 0, 0, 0), (2, 3, 8, 8), (1, 0, 12, 12))
STRAY[0, 12:, 12:] = 0  # smaller than the true component


def test_the_2018_rule_fires_for_the_labels_that_are_one_component_in_every_reference(make):
    two_lesions = _map((1, 0, 0, 0), (2, 3, 8, 8), (2, 0, 8, 0))
    made = make([REFERENCE, two_lesions, REFERENCE, REFERENCE, _map((2, 3, 8, 8))], recipe="2018")
    made.predict("3d_fullres", [STRAY] * 5)
    selection = made.select(**{"3d_fullres": ALL})
    assert [step.label for step in selection.postprocessing] == [1]
    (trial,) = selection.trials
    assert trial.accepted
    assert trial.dice_after[0] > trial.dice_before[0]
    assert trial.dice_after[1] == trial.dice_before[1]


def test_the_2018_rule_asks_the_references_alone(make):
    # The predictions are better with both pieces of label 2, and it is cut off all the same.
    made = make([REFERENCE] * 5, recipe="2018")
    pieces = REFERENCE.copy()
    pieces[4, 8:11, 8:11] = 0
    made.predict("3d_fullres", [pieces] * 5)
    selection = made.select(**{"3d_fullres": ALL})
    assert [step.label for step in selection.postprocessing] == [1, 2]
    last = selection.trials[-1]
    assert last.dice_after[1] < last.dice_before[1]


def test_the_cross_validated_rule_accepts_on_a_single_organ_with_a_stray_component(make):
    organ, stray = np.minimum(REFERENCE, 1), np.minimum(STRAY, 1)
    organ[3:6, 8:11, 8:11] = stray[3:6, 8:11, 8:11] = 0
    made = make([organ] * 5, labels=1)
    made.predict("3d_fullres", [organ, organ, stray, organ, organ])
    selection = made.select(**{"3d_fullres": ALL})
    assert [step.label for step in selection.postprocessing] == [0]
    (trial,) = selection.trials
    assert set(trial.changed_cases) == {"case_2"}
    assert trial.dice_before[0] < 1.0
    assert (trial.dice_after, selection.mean_dice_per_label) == ((1.0,), (1.0,))


def test_the_cross_validated_rule_refuses_on_a_task_of_many_lesions(make):
    lesions = _map((1, 0, 0, 0), (1, 3, 8, 8), (1, 0, 12, 0))
    # One of five cases has a stray component, but in the others lesions would be lost.
    stray = _map((1, 0, 0, 0), (1, 3, 12, 12))
    made = make([lesions, lesions, lesions, lesions, _map((1, 0, 0, 0))], labels=1)
    made.predict("3d_fullres", [lesions, lesions, lesions, lesions, stray])
    selection = made.select(**{"3d_fullres": ALL})
    assert selection.postprocessing == ()
    (trial,) = selection.trials
    assert not trial.accepted
    assert "no rise" in trial.reason


def test_steps_are_tried_on_the_result_of_those_accepted_before(make):
    # A stray of label 2 lies apart: all foreground as one component would cut label 2 off in the references too, so it
    # is refused; then label 1 has nothing to gain, and label 2 loses its stray.
    prediction = REFERENCE.copy()
    prediction[0, 12:14, 12:14] = 2
    made = make([REFERENCE] * 5)
    made.predict("3d_fullres", [prediction] * 5)
    selection = made.select(**{"3d_fullres": ALL})
    assert [(trial.step.label, trial.accepted) for trial in selection.trials] == [(0, False), (1, False), (2, True)]
    assert selection.mean_dice_per_label == (1.0, 1.0)
    assert selection.mean_dice < 1.0
