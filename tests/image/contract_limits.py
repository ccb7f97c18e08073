"""A container that is allowed next to nothing, and workers that fit what it is allowed."""

import json

import pytest
from container import TINY, nnbox, shell

_HARD = (
    *("--read-only", "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65534:65534", "--memory", "8g", "--pids-limit", "256"),
)


def begun(volume):
    """The facts of the last start in a run's log."""
    lines = shell("cat /output/log.jsonl", "-v", f"{volume}:/output").splitlines()
    return [json.loads(line)["facts"] for line in lines if json.loads(line)["event"] == "start"][-1]


@pytest.mark.parametrize("scratch", [("--tmpfs", "/tmp"), ()], ids=["with tmpfs", "without tmpfs"])
def test_train_and_predict_pass_with_everything_taken_away(scratch, filled, volumes):
    results = volumes("results")
    shell("chown 65534:65534 /output && chmod 755 /output", "-v", f"{results}:/output")
    options = (*_HARD, *scratch, "-v", f"{filled}:/input:ro", "-v", f"{results}:/output")
    run = nnbox("train", *TINY, options=options)
    assert "passes every check" in run.out
    assert run.err == ""
    shell("rm -r /output/predictions", "-v", f"{results}:/output")
    again = nnbox("predict", options=options)
    assert "passes every check" in again.out
    assert again.err == ""
    facts = begun(results)
    assert facts["machine"]["memory_bytes"] == 8 * 2**30


@pytest.mark.parametrize(
    ("limits", "workers", "cpus"),
    [
        (("--cpus", "1"), 1, 1),
        (("--memory", "2300m"), 1, None),
        (("--pids-limit", "80"), 1, None),
    ],
    ids=["cpus", "memory", "processes"],
)
def test_workers_fit_the_containers_limits(limits, workers, cpus, filled, volumes):
    results = volumes("results")
    mounts = ("-v", f"{filled}:/input:ro", "-v", f"{results}:/output")
    nnbox("train", *TINY, "--folds", "0", "--until", "train", options=(*limits, *mounts))
    facts = begun(results)
    assert facts["workers"] == workers
    if cpus is not None:
        assert facts["machine"]["cpus"] == cpus
        assert f"{cpus} threads" in facts["device"]["description"]
