"""Choosing a candidate: the published rows, and constructed cross-validations."""

from __future__ import annotations

import pytest

from nnbox.records.results import Candidate
from nnbox.rules.selection import choose_candidate, pairs

# Mean Dice x 100 of each label, from the 2018 document's five-fold cross-validation (RULES.md §10).
PUBLISHED = {
    "BrainTumour": {
        "2d": (78.60, 58.65, 77.42),
        "3d_fullres": (80.71, 62.22, 79.07),
        "2d+3d_fullres": (80.79, 61.72, 79.16),
    },
    "Heart": {
        "2d": (91.36,),
        "3d_fullres": (92.45,),
        "3d_cascade": (92.40,),
        "2d+3d_fullres": (92.70,),
        "2d+3d_cascade": (92.64,),
        "3d_fullres+3d_cascade": (92.63,),
    },
    "Liver": {
        "2d": (94.37, 53.94),
        "3d_fullres": (94.11, 61.74),
        "3d_cascade": (95.38, 58.49),
        "2d+3d_fullres": (94.30, 60.24),
        "2d+3d_cascade": (95.31, 60.09),
        "3d_fullres+3d_cascade": (95.43, 61.82),
    },
    "Hippocampus": {"2d": (88.52, 86.70), "3d_fullres": (89.87, 88.20), "2d+3d_fullres": (89.78, 88.09)},
    "Prostate": {"2d": (61.98, 84.31), "3d_fullres": (60.77, 83.73), "2d+3d_fullres": (63.78, 85.31)},
    "Lung": {
        "2d": (52.68,),
        "3d_fullres": (55.87,),
        "3d_cascade": (66.85,),
        "2d+3d_fullres": (55.96,),
        "2d+3d_cascade": (61.18,),
        "3d_fullres+3d_cascade": (65.16,),
    },
    "Pancreas": {
        "2d": (74.70, 35.41),
        "3d_fullres": (77.69, 42.69),
        "3d_cascade": (79.30, 52.12),
        "2d+3d_fullres": (78.26, 40.46),
        "2d+3d_cascade": (78.79, 45.46),
        "3d_fullres+3d_cascade": (79.70, 49.14),
    },
}
SUBMITTED = {
    "BrainTumour": "3d_fullres",
    "Heart": "2d+3d_fullres",
    "Liver": "3d_fullres+3d_cascade",
    "Hippocampus": "3d_fullres",
    "Prostate": "2d+3d_fullres",
    "Lung": "3d_cascade",
    "Pancreas": "3d_cascade",
}
NETWORKS = {"2d": 5, "3d_fullres": 5, "3d_cascade": 10}


def _candidate(name, labels, *, networks=None, operations=1.0):
    members = tuple(name.split("+"))
    defined = [value for value in labels if value is not None]
    return Candidate(
        name=name,
        members=members,
        cases=(),
        mean_dice_per_label=tuple(labels),
        mean_dice=sum(defined) / len(defined) if defined else None,
        networks=networks if networks is not None else sum(NETWORKS[member] for member in members),
        operations_per_mm3=operations,
    )


@pytest.mark.parametrize("task", PUBLISHED)
def test_what_was_submitted_is_picked_from_the_published_rows(task, count_oracle_cells):
    candidates = [_candidate(name, [dice / 100 for dice in row]) for name, row in PUBLISHED[task].items()]
    for ordered in (candidates, candidates[::-1]):
        winner, reason = choose_candidate(ordered)
        assert winner.name == SUBMITTED[task]
        assert f"highest mean Dice {winner.mean_dice:.4f} of {len(candidates)} candidates" in reason
    count_oracle_cells(1)


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_candidates_are_the_configurations_and_their_pairs(task):
    names = [name for name in PUBLISHED[task] if "+" not in name]
    assert {"+".join(pair) for pair in pairs(names)} == {name for name in PUBLISHED[task] if "+" in name}


def test_pairs_keep_the_order_and_one_configuration_has_none():
    assert pairs(("a", "b", "c")) == (("a", "b"), ("a", "c"), ("b", "c"))
    assert pairs(("a",)) == ()


def test_the_pair_wins_when_it_is_better():
    winner, reason = choose_candidate(
        [_candidate("2d", (0.7, 0.9)), _candidate("3d_fullres", (0.9, 0.7)), _candidate("2d+3d_fullres", (0.85, 0.85))]
    )
    assert winner.name == "2d+3d_fullres"
    assert "next 2d with 0.8000" in reason or "next 3d_fullres with 0.8000" in reason


def test_a_tie_goes_to_fewer_networks():
    pair, single = _candidate("2d+3d_fullres", (0.8000005,)), _candidate("3d_fullres", (0.8,), operations=9e9)
    for ordered in ([pair, single], [single, pair]):
        winner, reason = choose_candidate(ordered)
        assert winner is single
        assert "tied within 1e-06 with 2d+3d_fullres (10 networks" in reason


def test_with_equal_networks_a_tie_goes_to_fewer_operations():
    dear, cheap = _candidate("3d_fullres", (0.8,), operations=2.0), _candidate("2d", (0.8,), operations=1.0)
    assert choose_candidate([dear, cheap])[0] is cheap
    assert choose_candidate([cheap, dear])[0] is cheap


def test_a_difference_of_a_millionth_is_no_tie():
    better, cheaper = _candidate("2d+3d_fullres", (0.800002,)), _candidate("3d_fullres", (0.8,))
    assert choose_candidate([cheaper, better])[0] is better


def test_a_candidate_without_a_dice_cannot_win_against_one_that_has_it():
    winner, reason = choose_candidate([_candidate("2d", (None, None)), _candidate("2d+3d_fullres", (0.01, None))])
    assert winner.name == "2d+3d_fullres"
    assert "without a defined Dice: 2d" in reason


def test_without_any_dice_the_cheapest_is_used_and_it_says_so():
    winner, reason = choose_candidate([_candidate("2d+3d_fullres", (None,)), _candidate("3d_fullres", (None,))])
    assert winner.name == "3d_fullres"
    assert "no candidate has a defined Dice" in reason


def test_a_single_candidate_is_named_as_the_only_one():
    assert choose_candidate([_candidate("2d", (0.5,))])[1] == "the only candidate, mean Dice 0.5000"


def test_nothing_cannot_be_chosen_from():
    with pytest.raises(ValueError, match="empty"):
        choose_candidate([])
