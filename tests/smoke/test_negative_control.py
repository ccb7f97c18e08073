"""The smoke run's counter-proof: from labels that belong to other images nothing can be learned."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_CHANCE = 0.3


@pytest.mark.slow
def test_two_folds_of_the_same_run_on_permuted_labels_learn_nothing(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(_ROOT / "benchmarks")
    monkeypatch.syspath_prepend(_ROOT / "tests" / "smoke")
    # The run itself may use every core, as `make smoke` does.
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    import smoke

    assert Path(sys.modules["smoke"].__file__).parent == Path(__file__).parent
    data, out = tmp_path / "Task98_Permuted", tmp_path / "out"
    smoke.nnbox("synthesize", str(data), "--preset", "permuted")
    smoke.train(data, out, "--folds", "0,1", "--until", "select")  # the test images say nothing about chance
    trained = {folder.name: len(list(folder.glob("fold_*/weights.safetensors"))) for folder in out.glob("training/*/")}
    # The cascade's second stage wants an out-of-fold first stage of every case, so all folds of it are trained.
    assert trained == {"2d": 2, "3d_fullres": 2, "3d_lowres": 5, "3d_cascade": 2}
    evidence = json.loads((out / "crossvalidation.json").read_text())
    assert len(evidence["candidates"]) == 6
    for candidate in evidence["candidates"]:
        assert candidate["mean_dice"] < _CHANCE, candidate["name"]
