"""Which nnbox this is: its version and the revision it was built from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from nnbox import __version__

_VARIABLE = "NNBOX_REVISION"


def revision() -> str | None:
    """Return the revision of the source: what the image was built with, else what git says of this checkout."""
    if baked := os.environ.get(_VARIABLE, "").strip():
        return None if baked == "unknown" else baked
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def version_sentence() -> str:
    """Return ``nnbox 0.1.0 (revision abc)``, without the bracket where the revision is not known."""
    known = revision()
    return f"nnbox {__version__} (revision {known})" if known else f"nnbox {__version__}"
