"""`inspect` tells all there is to tell about a data set in one pass, however much is wrong with it."""

from __future__ import annotations

import numpy as np
from confined import run_confined
from defect_row import INSPECT
from small_set import TEST, SmallSet, patch, rewrite


def test_every_problem_of_a_data_set_is_told_in_one_pass(tmp_path):
    names = tuple(f"case{letter}" for letter in "abcdefghijkl")
    data = SmallSet(tmp_path, cases=names)
    data.write()
    data.label("casea").unlink()
    data.image("caseb").write_bytes(data.image("caseb").read_bytes()[:-30])
    patch(data.image("casec"), {80: ("f", (0.0,))})
    rewrite(data.label("cased"), origin=(2.0, 2.0, 3.0))
    rewrite(data.label("casee"), lambda values: values[1:])
    rewrite(data.label("casef"), lambda values: values * 9)
    rewrite(data.image("caseg"), lambda values: np.where(values > 100, np.nan, values).astype(np.float32))
    data.image("caseh").write_bytes(b"")
    data.image("casei").unlink()
    data.image("casei").symlink_to(data.image("casei").name)
    rewrite(data.label("casej"), lambda values: values.astype(np.float32) / 2)
    rewrite(data.image("casek"), lambda values: np.full_like(values, 3))
    data.image(TEST).write_bytes(b"no image")
    data.describe(numTraining=99)
    outcome = run_confined(INSPECT.split(" "), tmp_path)
    assert outcome.code == 3, outcome.text
    for case, words in {
        "casea": "the label is missing",
        "caseb": "truncated",
        "casec": "the spacing (0, 0.9, 2) mm",
        "cased": "1.25 voxels",
        "casee": "its size is (5, 10, 12)",
        "casef": "unknown label value 9",
        "caseg": "NaN or infinite",
        "caseh": "NIfTI header",
        "casei": "--exclude casei",
        "casej": "no whole numbers",
        "casek": "the value 3 everywhere",
        TEST: "NIfTI header",
    }.items():
        assert any(case in line and words in line for line in outcome.text.splitlines()), (case, outcome.text)
    assert '"numTraining" is 99' in outcome.text
    assert "11 problems to be solved first" in outcome.text
