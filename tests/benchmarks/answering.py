"""What `test_gpu_watch.py` runs in a process of its own, which imports it by its bare name."""

from __future__ import annotations

import subprocess
import sys
import time


def serve(connection):
    """Start a process that outlives its question, hang, end, or repeat what was said."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    while True:
        question = connection.recv()
        if question == "hang":
            time.sleep(300)
        elif question == "end":
            raise SystemExit(3)
        connection.send(started.pid if question == "pid" else question)
