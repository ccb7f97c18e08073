"""The fingerprint of real cases against reference numbers that were not made here."""

from __future__ import annotations

import json
from collections import Counter

from nnbox.imaging.io import read_image, read_labels
from nnbox.imaging.statistics import case_fingerprint


def test_every_hippocampus_case_has_the_reference_shape_and_nearly_every_label_is_one_component(
    shared, reference, count_oracle_cells
):
    expected = json.loads((reference / "msd_fingerprints.json").read_text())["Task04_Hippocampus"]
    root = shared / "data" / "Task04_Hippocampus"
    cases = []
    for path in sorted((root / "imagesTr").glob("hippocampus_*.nii.gz")):
        image, grid = read_image([path])
        labels, _ = read_labels(root / "labelsTr" / path.name)
        cases.append(case_fingerprint(path.name, image, labels, grid, 2))
    assert len(cases) == expected["num_training"]
    # The reference lists the cases in an order of its own.
    assert Counter(case.shape_vox for case in cases) == Counter(map(tuple, expected["shapes_after_crop_zyx"]))
    assert Counter(case.spacing_mm for case in cases) == Counter(map(tuple, expected["spacings_zyx_mm"]))
    # Known of these references: with 26-connectivity all but one case are single components.
    assert [sum(case.components[label] != 1 for case in cases) for label in range(2)] == [1, 0]
    count_oracle_cells(2 * len(cases) + 2)
