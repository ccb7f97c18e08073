"""What a run was made with: versions, command, seed and machine, recorded at its start."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from nnbox import __version__
from nnbox.limits import available_cpus, available_memory_bytes
from nnbox.network.device import Device
from nnbox.records.codec import encode
from nnbox.stages.context import Context
from nnbox.stages.options import TrainOptions
from nnbox.version import revision

LIBRARIES = (
    *("torch", "numpy", "scipy", "SimpleITK", "batchgenerators", "safetensors"),
    *("typer", "rich", "jinja2", "matplotlib"),
)


def tell_start(context: Context, options: TrainOptions, device: Device) -> None:
    """Say that a run begins; its log gets all that it was made with."""
    sentence = f"nnbox {__version__}, recipe {options.recipe}, seed {options.seed}: {context.root}"
    context.journal.say("start", sentence, provenance(context, options, device))


def provenance(context: Context, options: TrainOptions, device: Device) -> dict[str, Any]:
    """Return the facts of a run's first event."""
    return {
        "root": str(context.root.resolve()),
        "version": __version__,
        "revision": revision(),
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "recipe": options.recipe,
        "seed": options.seed,
        "workers": context.workers,
        "options": encode(options),
        "device": encode(device),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cpus": available_cpus(),
            "memory_bytes": available_memory_bytes(),
        },
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
    }


def _program() -> str:
    """Return what was typed for the program: its own files are called by its name."""
    return "nnbox" if Path(sys.argv[0]).name in {"__main__.py", "entrypoint.py", "nnbox"} else sys.argv[0]


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1).strip() if found else f"{platform.machine()}, {os.cpu_count()} processors"
