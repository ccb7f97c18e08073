"""A run with a time budget that is killed in its first epoch goes on by the same command, and ends when it is late."""

from __future__ import annotations

import json
import signal

from nnbox.faults import VARIABLE

# Not passed while a budget's costs are measured: that is done in a folder of the run's own.
SAVED = "after rename@*/training/3d_fullres/fold_0/checkpoint.json:1"


def test_killed_in_its_first_epoch_it_goes_on_and_ends_with_an_archive(runs, tiny_data, tmp_path):
    words = (
        *("train", "--input", tiny_data, "--output", tmp_path, "--splits", tiny_data.with_name("splits.json")),
        *("--configurations", "3d_fullres", "--folds", 0, "--device", "cpu", "--planning-memory", 0.003),
        *("--workers", 0),
    )
    run = runs(*words, "--time-budget", "10m", hasty=True, **{VARIABLE: SAVED})
    assert (run.code, run.left) == (-signal.SIGKILL, ()), run.said
    # Whatever this machine needs, it is late now: what is left gets the least steps, and nothing waits for the time.
    run = runs(*words, "--time-budget", "1s", hasty=True)
    assert run.code == 0, run.said
    assert "time is short" in run.said
    assert "passes every check" in run.said
    layout = json.loads((tmp_path / "training" / "3d_fullres" / "fold_0" / "layout.json").read_text())
    result = json.loads((tmp_path / "training" / "3d_fullres" / "fold_0" / "result.json").read_text())
    assert result["iterations_per_epoch"] == layout["iterations"]
    assert not list(tmp_path.rglob(".probe-*"))
