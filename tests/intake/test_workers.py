"""A case that ends its process is a finding; the others are read."""

import json
import subprocess
import sys

SCRIPT = """
import json, os, signal
from nnbox.intake.facts import CaseReading, CaseTask
from nnbox.intake.workers import _killed, _run
from nnbox.records.dataset import Case


def task(name):
    return CaseTask(
        root=".",
        case=Case(name=name, images=(name + ".nii",), label=None, output_name=name + ".nii"),
        labels=(),
        channels_from="dataset.json",
        channels=None,
        trust_image_grid=False,
        replace_nonfinite=False,
        known={},
    )


def die_on_b(task):
    if task.case.name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return CaseReading(name=task.case.name)


if __name__ == "__main__":
    readings = _run(die_on_b, [task(name) for name in "abcd"], 2, _killed)
    print(json.dumps([[item.name, *(problem.sentence() for problem in item.problems)] for item in readings]))
"""


def test_a_killed_process_blames_its_own_case_only(tmp_path):
    # A worker imports the function by its module's name, which a test module does not have.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60)
    a, b, c, d = json.loads(done.stdout)
    assert (a, b[0], c, d) == (["a"], "b", ["c"], ["d"])
    assert "memory" in b[1]
    assert "--exclude b" in b[1]
