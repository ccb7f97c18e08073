"""What a reader is warned of."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from nnbox.records.dataset import Channel, Label
from nnbox.records.events import Event
from nnbox.records.fingerprint import CaseFingerprint, Fingerprint
from nnbox.records.plan import Folds
from nnbox.records.results import (
    Candidate,
    CaseScores,
    CrossValidation,
    LabelScores,
    PostprocessingStep,
    PostprocessingTrial,
    Selection,
)
from nnbox.report.flags import empty_flags, fold_flags, label_flags, prediction_flags, spacing_flags
from nnbox.report.ranking import final_dice, ranked_cases, shown_cases


@dataclasses.dataclass(frozen=True)
class _Plan:
    labels: tuple[Label, ...]


def _fingerprint(voxels, spacings=None):
    labels = tuple(Label(value=index, name=f"label{index}") for index in range(1, len(voxels[0]) + 1))
    cases = tuple(
        CaseFingerprint(
            name=f"case{number}",
            source_shape_vox=(10, 10, 10),
            shape_vox=(10, 10, 10),
            spacing_mm=(2.0, 0.9, 0.9) if spacings is None else spacings[number],
            crop_ratio=1.0,
            label_voxels=counts,
            components=(1,) * len(counts),
        )
        for number, counts in enumerate(voxels)
    )
    channels = (Channel(name="MR", is_ct=False),)
    return Fingerprint(task="T", dimension=3, channels=channels, labels=labels, cases=cases, intensities=None)


def _titles(flags):
    return [flag.title for flag in flags]


def test_an_even_data_set_raises_no_flag():
    fingerprint = _fingerprint([(100, 80)] * 10)
    assert _titles(label_flags(fingerprint)) == []
    assert _titles(spacing_flags(fingerprint)) == []


def test_a_rare_and_a_tiny_label_are_flagged():
    fingerprint = _fingerprint([(1_000_000, 3, 0)] * 18 + [(1_000_000, 3, 50)] * 2)
    assert _titles(label_flags(fingerprint)) == ["label2 is very small", "label3 is rare", "label3 is very small"]


def test_a_spacing_far_from_the_others_is_flagged_with_the_case():
    spacings = [(2.0, 0.9, 0.9)] * 9 + [(20.0, 0.9, 0.9)]
    (flag,) = spacing_flags(_fingerprint([(1,)] * 10, spacings))
    assert "case9" in flag.parts[0]


def test_the_spacing_of_a_missing_header_is_flagged_unless_all_have_it():
    few = [(1.2, 0.9, 0.9)] * 9 + [(1.0, 1.0, 1.0)]
    assert _titles(spacing_flags(_fingerprint([(1,)] * 10, few))) == ["Spacing that looks like a default"]
    assert _titles(spacing_flags(_fingerprint([(1,)] * 10, [(1.0, 1.0, 1.0)] * 10))) == []


def _case(name, dice, *, reference=10, predicted=10):
    labels = tuple(
        LabelScores(dice=value, surface_dice=value, hd95_mm=1.0, reference_voxels=reference, predicted_voxels=predicted)
        for value in dice
    )
    return CaseScores(case=name, labels=labels)


def _candidate(cases):
    return Candidate(
        name="2d",
        members=("2d",),
        cases=tuple(cases),
        mean_dice_per_label=(0.5,),
        mean_dice=0.5,
        networks=5,
        operations_per_mm3=1.0,
    )


def _folds(count, size):
    names = [f"case{number}" for number in range(count * size)]
    return Folds(validation=tuple(tuple(names[fold::count]) for fold in range(count)), origin="test")


@pytest.mark.parametrize(("shift", "flagged"), [(0.0, []), (-0.3, ["Fold 2 stands out"]), (-0.02, [])])
def test_a_fold_stands_out_only_when_it_is_far_from_the_others(shift, flagged):
    folds = _folds(5, 6)
    cases = [_case(f"case{n}", [0.8 + 0.01 * (n // 5 % 2) + (shift if n % 5 == 2 else 0)]) for n in range(30)]
    found = list(fold_flags(_candidate(cases), folds, "crossvalidation.json#/candidates/0"))
    assert _titles(found) == flagged
    if found:
        assert found[0].parts[1].value == pytest.approx(0.8 + 0.005 + shift)


def test_a_label_that_is_missed_and_one_that_is_made_up_are_flagged():
    cases = [_case("a", [0.0], predicted=0), _case("b", [0.0], reference=0), _case("c", [0.9])]
    flags = list(empty_flags(_candidate(cases), _Plan(labels=(Label(value=1, name="liver"),))))
    assert _titles(flags) == ["liver is missed altogether in some cases", "liver is found where there is none"]
    assert "a." in flags[0].parts[0]
    assert "b." in flags[1].parts[0]


@dataclasses.dataclass(frozen=True)
class _Run:
    events: tuple[Event, ...]


def _predicted(case, foreground_voxels):
    facts = {"case": case, "foreground_voxels": foreground_voxels}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Event(time=now, event="predicted", sentence="", severity=None, facts=facts, run=None)


def test_test_images_predicted_as_background_only_are_flagged_by_their_latest_prediction():
    assert _titles(prediction_flags(_Run((_predicted("a", 0), _predicted("b", 7), _predicted("a", 3))))) == []
    (flag,) = prediction_flags(_Run((_predicted("a", 5), _predicted("b", 7), _predicted("a", 0))))
    assert flag.title == "Empty predictions of test images"
    assert flag.parts == ("Background only: a.",)


def _evidence(dice):
    cases = [_case(f"case{number}", [value]) for number, value in enumerate(dice)]
    return CrossValidation(
        task="T",
        tolerance_mm=1.0,
        folds_complete=(0,),
        partial=False,
        left_out={},
        candidates=(_candidate(cases),),
        not_candidates=(),
    )


def _selection(changes, *, accepted=True):
    trial = PostprocessingTrial(
        step=PostprocessingStep(label=1),
        accepted=accepted,
        reason="",
        dice_before=(0.5,),
        dice_after=(0.6,),
        changed_cases={case: [[before], [after]] for case, (before, after) in changes.items()},
    )
    return Selection(
        task="T",
        candidate="2d",
        members=("2d",),
        folds={"2d": (0,)},
        partial=False,
        mean_dice=0.5,
        mean_dice_per_label=(0.5,),
        reason="",
        postprocessing=(),
        trials=(trial,),
    )


def test_the_worst_median_and_best_case_are_those_after_post_processing():
    evidence = _evidence([0.9, 0.1, 0.5, None, 0.7])
    plain = _selection({"case1": (0.1, 0.95)}, accepted=False)
    assert ranked_cases(evidence, plain, 0) == (1, 2, 4, 0)
    assert shown_cases(ranked_cases(evidence, plain, 0)) == (("worst", 1), ("median", 2), ("best", 0))
    used = _selection({"case1": (0.1, 0.95)})
    assert ranked_cases(evidence, used, 0) == (2, 4, 0, 1)
    final = final_dice(evidence, used, 0)
    assert (final[1][0].value, final[1][0].source) == (0.95, "selection.json#/trials/0/changed_cases/case1/1/0")
    assert final[0][0].source == "crossvalidation.json#/candidates/0/cases/0/labels/0/dice"


@pytest.mark.parametrize(("ranked", "roles"), [((), []), ((4,), ["worst"]), ((4, 2), ["worst", "best"])])
def test_few_cases_are_shown_once_each(ranked, roles):
    assert [role for role, _ in shown_cases(ranked)] == roles
