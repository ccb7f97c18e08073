"""The row of five folds side by side on one card."""

from __future__ import annotations

import selectors
import subprocess
import sys
import time
from pathlib import Path

from gpu_place import GpuPlace, Utilisation
from gpu_row import GpuRow, Measured, NotMeasured

_FOLD_SCRIPT = Path(__file__).resolve().parent / "gpu_fold.py"
_MOST_SECONDS = 100.0


def folds_row() -> GpuRow:
    return GpuRow(
        name="gpu/folds-hippocampus",
        job="five Hippocampus folds side by side, 250 steps each with augmentation, one process each",
        reference="the same processes one after the other",
        target=4,
        needs_seconds=60,
        work=_folds,
    )


def _folds(place: GpuPlace) -> Measured:
    plan = place.plan("hippocampus")
    home, amounts = place.home(plan), place.amounts
    command = [sys.executable, str(_FOLD_SCRIPT), "--device", place.device, "--home", str(home)]
    command += ["--cases", str(amounts.cases), "--steps", str(amounts.fold_steps), *(["--quick"] * place.quick)]
    folds = [
        subprocess.Popen([*command, "--fold", str(fold)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for fold in range(amounts.folds)
    ]
    try:
        for fold in folds:
            _answer(fold, place)
        alone = [_together([fold], place)[0] for fold in folds]
        with Utilisation(place) as busy:
            together, peaks = _together(folds, place)
    finally:
        for fold in folds:
            fold.kill()
            fold.communicate()
    figures = {"folds": float(amounts.folds), "GB on the card, all": sum(peaks), **busy.figure()}
    return Measured(ours=[together], theirs=[sum(alone)], figures=figures)


def _together(folds: list[subprocess.Popen[str]], place: GpuPlace) -> tuple[float, list[float]]:
    """Let folds take their steps at the same time; return the seconds until the last is done, and GB on the card."""
    began = time.perf_counter()
    for fold in folds:
        assert fold.stdin is not None
        fold.stdin.write("go\n")
        fold.stdin.flush()
    peaks = [float(_answer(fold, place)) for fold in folds]
    return time.perf_counter() - began, peaks


def _answer(fold: subprocess.Popen[str], place: GpuPlace) -> str:
    """Wait for a fold's line, of which it writes one at a time."""
    assert fold.stdout is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(fold.stdout, selectors.EVENT_READ)
        limit = max(0.0, min(_MOST_SECONDS, place.left_seconds))
        if not waiting.select(limit):
            raise NotMeasured(f"a fold gave no answer within {limit:.0f} s")
    line = fold.stdout.readline()
    if not line:
        raise NotMeasured(f"a fold ended with exit code {fold.wait()}")
    return line
