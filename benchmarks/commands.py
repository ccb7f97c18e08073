"""Running the two programs as a shell does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from row import Places


def nnbox(places: Places, *words: str | Path) -> None:
    """Run ``nnbox`` with the words behind it."""
    command = [Path(sys.executable).with_name("nnbox"), *words]
    subprocess.run(command, env=places.environment, stdout=subprocess.DEVNULL, check=True)


def peer_environment(places: Places, folder: Path) -> dict[str, str]:
    """Return the variables by which the other tool finds its folders, all below one."""
    names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": "preprocessed", "nnUNet_results": "results"}
    return {**places.environment, **{name: str(folder / part) for name, part in names.items()}}


def peer(places: Places, folder: Path, *words: str | Path) -> None:
    """Run a program of the other tool's environment; its folders lie below ``folder``."""
    assert places.peer is not None
    subprocess.run(
        [places.peer / words[0], *words[1:]],
        env=peer_environment(places, folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
