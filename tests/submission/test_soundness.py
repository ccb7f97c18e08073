"""A stranger's plan is bounded before it is followed."""

import pytest

from nnbox.records.dataset import Choices, Label
from nnbox.records.plan import Resampling
from nnbox.records.results import PostprocessingStep
from nnbox.submission.soundness import defects


def _resampling(spacing_mm, order):
    return Resampling(target_spacing_mm=spacing_mm, separate_axis_threshold=3.0, label_order=order)


def test_a_plan_a_selection_and_weights_that_fit_have_no_defect(plan, selection, weights):
    assert defects(plan, selection, weights.keys()) == ()


CHANGES_OF_A_CONFIGURATION = {
    "patch": ({"patch_size": (8, 8)}, {}),
    "pooled": ({"patch_size": (8, 8, 9)}, {}),
    "patch (2048": ({"patch_size": (2048, 2048, 2048)}, {}),
    "patch (0": ({"patch_size": (0, 8, 8)}, {}),
    "no first stage": ({"previous": "3d_fullres"}, {"input_channels": 3}),
    "classes": ({}, {"classes": 4}),
    "input channels": ({}, {"input_channels": 2}),
    "features": ({}, {"features": (4, 10**6)}),
    "levels": ({}, {"features": (4,) * 13}),
    "stride": ({}, {"strides": ((1, 1, 1), (0, 2, 2))}),
    "kernel": ({}, {"kernels": ((3, 3, 3), (2, 3, 3))}),
    "2D network": ({}, {"dimension": 2}),
    "parameters": ({}, {"features": (4096,) * 12, "strides": ((1, 1, 1),) * 12, "kernels": ((7, 7, 7),) * 12}),
    "target spacing": ({"resampling": _resampling((1e-9, 1.0, 1.0), 1)}, {}),
    "in order 7": ({"resampling": _resampling((1.0, 1.0, 1.0), 7)}, {}),
}


@pytest.mark.parametrize("words", CHANGES_OF_A_CONFIGURATION)
def test_an_impossible_configuration_is_named(plan, selection, weights, replace, words):
    changes, topology_changes = CHANGES_OF_A_CONFIGURATION[words]
    good = plan.configuration("3d_fullres")
    bad = replace(good, topology=replace(good.topology, **topology_changes), **changes)
    configurations = tuple(bad if item is good else item for item in plan.configurations)
    found = defects(replace(plan, configurations=configurations), selection, weights.keys())
    wanted = "stride" if words == "2D network" else words
    assert any(defect.startswith("3d_fullres: ") and wanted in defect for defect in found)


CHANGES_OF_THE_PLAN = {
    "axis order": {"axis_order": (0, 0, 1)},
    "label values": {"labels": (Label(value=3, name="a"), Label(value=1, name="b"))},
    "normalizations": {"normalizations": ()},
    "configurations": {"configurations": ()},
    "is for": {"task": "Task91_Other"},
    "cannot name a file": {"task": "../../evil"},
    "is not known": {"recipe": "2030"},
    "mirror axis": {"choices": Choices(mirror_axes=("w",))},
}


@pytest.mark.parametrize("words", CHANGES_OF_THE_PLAN)
def test_an_impossible_plan_is_named(plan, selection, weights, replace, words):
    found = defects(replace(plan, **CHANGES_OF_THE_PLAN[words]), selection, weights.keys())
    assert any(words in defect or "not in the plan" in defect for defect in found)


CHANGES_OF_THE_SELECTION = {
    "no candidate": {"members": ()},
    "not in the plan": {"members": ("3d_fullres", "4d")},
    "no fold of 3d_lowres": {"folds": {"2d": (0,), "3d_cascade": (0,)}},
    "fold 7, are missing": {"folds": {"2d": (7,), "3d_cascade": (0,), "3d_lowres": (0,)}},
    "some are there twice or": {"folds": {"2d": (0, 0), "3d_cascade": (0,), "3d_lowres": (0,)}},
    "steps of post-processing": {"postprocessing": (PostprocessingStep(label=0),) * 2},
    "names label 5": {"postprocessing": (PostprocessingStep(label=5),)},
}


@pytest.mark.parametrize("words", CHANGES_OF_THE_SELECTION)
def test_an_impossible_selection_is_named(plan, selection, weights, replace, words):
    found = defects(plan, replace(selection, **CHANGES_OF_THE_SELECTION[words]), weights.keys())
    assert any(words in defect for defect in found)
