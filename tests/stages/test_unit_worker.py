"""The process that trains one network tells how it failed, so that its run can."""

from __future__ import annotations

import os
import subprocess
import sys

from nnbox.network.device import choose_device
from nnbox.records.codec import dumps
from nnbox.stages.order import Failed, TrainingOrder, failure, read_news

_STARVING = """
import sys
import numpy as np
from nnbox.stages import unit_worker

unit_worker.carry_out = lambda order: np.empty(1 << 55)
sys.exit(unit_worker.main())
"""


def test_a_process_whose_memory_runs_out_says_so_and_is_no_bug(tiny_options):
    order = TrainingOrder(
        parent=os.getpid(),
        run=None,
        steps_told=True,
        root=tiny_options.input,
        output=tiny_options.output,
        options=tiny_options,
        configurations=("3d_fullres",),
        configuration="3d_fullres",
        fold=0,
        device=choose_device("cpu"),
        workers=0,
        at_once=1,
    )
    words = [sys.executable, "-c", _STARVING]
    done = subprocess.run(words, input=dumps(order), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
    news = read_news(done.stdout)
    assert isinstance(news, Failed)
    error = failure(news)
    assert error.exit_code == 5
    assert "memory ran out (Unable to allocate 256. PiB" in str(error)
