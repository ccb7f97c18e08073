"""Where an oracle and the documents disagree: which of them the plans follow, and what the other one would give.

The two outside of planning are in `tests/imaging/test_labels.py` (what is left where three labels meet) and in
`tests/imaging/test_hippocampus_fingerprint.py` (which voxels touch).
"""

from __future__ import annotations

import json
import math

import pytest

from nnbox.records.dataset import Choices
from nnbox.rules import patch_2018
from nnbox.rules.external import fingerprint_from_json
from nnbox.rules.planning import make_plan


def _plans(reference, recipe):
    document = json.loads((reference / "msd_fingerprints.json").read_text())
    return {
        task: make_plan(fingerprint_from_json(document, task=task, where="reference"), recipe=recipe, choices=Choices())
        for task in document
    }


def _wrong_cells(plans, table):
    cells = [
        (task, name, key, value)
        for task, configurations in table.items()
        for name, values in configurations.items()
        for key, value in values.items()
    ]
    assert len(cells) == 72
    return [cell for cell in cells if json.loads(json.dumps(_planned(plans, cell))) != cell[3]]


def _planned(plans, cell):
    task, name, key, _ = cell
    return getattr(plans[task].configuration(name), key)


def _literal_start(spacing_mm, median_vox, edge_vox):
    """The sentence of 2018: the aspect ratio of the median shape, and all of it where it is below 128³ voxels."""
    if math.prod(median_vox) < round(edge_vox**3):
        return tuple(float(size) for size in median_vox)
    typical = math.prod(median_vox) ** (1 / 3)
    return tuple(min(edge_vox * size / typical, size) for size in median_vox)


def test_the_3d_patch_of_2018_follows_table_1_where_the_sentence_of_the_document_gives_64_of_72(reference, monkeypatch):
    table = json.loads((reference / "plans_2018_table1.json").read_text())
    assert _wrong_cells(_plans(reference, "2018"), table) == []
    monkeypatch.setattr(patch_2018, "start_patch_2018", _literal_start)
    wrong = _wrong_cells(_plans(reference, "2018"), table)
    assert len(wrong) == 8
    assert {key for _, _, key, _ in wrong} == {"patch_size", "batch_size", "num_pool_per_axis"}


def test_the_cascade_of_2019_follows_the_table_where_the_sentence_of_the_document_adds_one_for_the_heart(reference):
    table = json.loads((reference / "plans_2019.json").read_text())
    plans = _plans(reference, "2019")
    by_sentence, by_table = set(), {task for task, row in table.items() if "3d_lowres" in row}
    for task, plan in plans.items():
        full = plan.configuration("3d_fullres")
        # "If the patch covers less than 25 % of the typical case".
        if math.prod(full.patch_size) < 0.25 * math.prod(full.median_shape):
            by_sentence.add(task)
    assert by_sentence - by_table == {"Task02_Heart"}
    assert {task for task, plan in plans.items() if len(plan.configurations) == 4} == by_table


@pytest.mark.parametrize("recipe", ["2018", "2019"])
def test_the_cascades_are_those_the_documents_name(reference, recipe):
    # 2018 §2.2 names Heart, Liver, Lung and Pancreas.
    found = {task[7:] for task, plan in _plans(reference, recipe).items() if len(plan.configurations) == 4}
    assert found == {"Liver", "Lung", "Pancreas"} | ({"Heart"} if recipe == "2018" else set())
