#!/usr/bin/env python3
"""What the container starts: the verbs of `nnbox`, with the container's folders as defaults."""

import os
from pathlib import Path

from nnbox.cli import run

if __name__ == "__main__":
    os.environ.setdefault("NNBOX_INPUT", "/input")
    # Without a mount, /output would die with the container; results beside the data are kept by the volume.
    beside_the_data = str(Path(os.environ["NNBOX_INPUT"]) / "nnbox")
    os.environ.setdefault("NNBOX_OUTPUT", "/output" if os.path.ismount("/output") else beside_the_data)
    run()
