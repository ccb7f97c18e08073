"""This process' own memory, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path


def resident_mb() -> float:
    """Return what is resident now."""
    return _status("VmRSS")


def peak_mb() -> float:
    """Return the most that was resident since `forget_peak`, or since the start."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(kind: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(kind))
