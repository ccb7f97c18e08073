"""Folds: those of scikit-learn and of the published run, with patients kept whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from nnbox.errors import DataError
from nnbox.rules.folds import make_folds, shuffled_parts


def test_the_published_folds_of_the_hippocampus_are_reproduced(reference):
    published = json.loads((reference / "hippocampus_nnunetv2_folds.json").read_text())["folds"]
    expected = [tuple(sorted(fold["validation_cases"])) for fold in published]
    cases = [case for fold in expected for case in fold]
    assert len(cases) == 260
    assert list(make_folds(cases[::-1], groups={}).validation) == expected


@settings(max_examples=40, deadline=None)
@given(items=st.integers(2, 400), parts=st.integers(2, 10))
def test_the_parts_are_those_of_scikit_learn(items, parts):
    parts = min(items, parts)
    expected = [
        tuple(int(i) for i in test) for _, test in KFold(parts, shuffle=True, random_state=12345).split(range(items))
    ]
    assert list(shuffled_parts(items, parts)) == expected


@settings(max_examples=40, deadline=None)
@given(patients=st.lists(st.integers(0, 12), min_size=2, max_size=60))
def test_every_case_is_held_out_once_and_no_patient_is_split(patients):
    cases = [f"case_{index:02d}" for index in range(len(patients))]
    groups = {case: f"p{patient}" for case, patient in zip(cases, patients, strict=True) if patient}
    units = len(set(groups.values())) + patients.count(0)
    if units < 2:
        with pytest.raises(DataError, match="two cases of different patients"):
            make_folds(cases, groups=groups)
        return
    folds = make_folds(cases, groups=groups)
    assert sorted(case for fold in folds.validation for case in fold) == cases
    assert len(folds.validation) == min(5, units)
    for patient in set(groups.values()):
        held = {folds.fold_of(case) for case in cases if groups.get(case) == patient}
        assert len(held) == 1


def test_the_order_of_the_names_does_not_matter():
    cases = [f"c{index}" for index in range(17)]
    assert make_folds(cases, groups={}) == make_folds(cases[::-1], groups={})


def test_groups_of_one_change_nothing():
    cases = [f"c{index}" for index in range(17)]
    alone = make_folds(cases, groups={case: f"patient of {case}" for case in cases})
    assert alone.validation == make_folds(cases, groups={}).validation


def test_fewer_cases_than_folds_shrink_the_folds_and_say_so():
    folds = make_folds(["a", "b", "c"], groups={})
    assert len(folds.validation) == 3
    assert "5 were wanted, but there are only 3 cases" in folds.origin
    assert len(make_folds(["a", "b"], groups={}).validation) == 2
    assert "wanted" not in make_folds(list("abcde"), groups={}).origin


@pytest.mark.parametrize("cases", [[], ["a"]])
def test_a_single_case_cannot_be_cross_validated(cases):
    with pytest.raises(DataError, match="at least two labelled cases"):
        make_folds(cases, groups={})
