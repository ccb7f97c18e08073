"""Rows of the training step on a CPU against nnU-Net v2's trainer: time, memory, and the same loss and gradients."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from row import Agreement, Pair, Places, Row, Timed

_HERE = Path(__file__).resolve().parent
_JOB = (
    "one training step of the Hippocampus 3D plan, 9 patches of 40x56x40, 30 to 240 features in 4 levels; processor "
    "time of one thread"
)
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
_ROUNDS = 3
_PLAN = "hippocampus"
_MOST_APART = {"loss": 1e-5, "gradient": 1e-3, "restated": 1e-5}


def rows(places: Places) -> list[Row]:
    return [
        _row(
            places,
            name="step/hippocampus",
            reference="nnU-Net v2's trainer, deep supervision and all",
            kind="deep",
            target=1,
        ),
        _row(
            places,
            name="step/hippocampus-same",
            reference="nnU-Net v2's trainer without deep supervision: the same network, loss and batch",
            kind="plain",
            target=1,
        ),
        _row(
            places,
            name="step/hippocampus-bf16",
            reference="nnU-Net v2's trainer, deep supervision and all, float32; ours with --precision bf16",
            kind="deep",
            target=1.5,
            precision="bf16",
            missing="" if _has_bf16() else "this CPU has no bf16",
        ),
    ]


def _row(places: Places, *, kind: str, precision: str = "float32", **words: Any) -> Row:
    return Row(
        job=_JOB,
        prepare=lambda: _steps(places, kind, precision),
        repetitions=1,
        threads=None,
        warm_up=False,
        needs_peer=True,
        **words,
    )


def _has_bf16() -> bool:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return bool(_BF16_FLAGS & set(flags))


def _steps(places: Places, kind: str, precision: str) -> Pair:
    """Let a script in the other environment take steps of both in turn; one call of it gives all rounds."""
    folder = places.work / "step"
    folder.mkdir(parents=True, exist_ok=True)
    apart = _script(places, "agree", "tiny", folder)
    peaks = _peaks(places, folder, precision) if kind == "deep" else {}
    latest: dict[str, list[float]] = {}

    def reference() -> Timed:
        latest.update(_script(places, "steps", _PLAN, folder, kind, precision, str(_ROUNDS)))
        return Timed(_middle(latest["theirs_cpu"]))

    def agree(*_: object) -> Agreement:
        words = (
            f"from the same weights, on patches of 16x16x16: loss within {apart['loss']:.0e}, gradients within "
            f"{apart['gradient']:.0e} of each tensor's largest"
        )
        return Agreement(words, holds=all(apart[name] <= most for name, most in _MOST_APART.items()))

    return Pair(
        reference=reference,
        ours=lambda: Timed(_middle(latest["ours_cpu"])),
        agree=agree,
        figures=lambda: {"ratio on the wall": _middle(latest["theirs"]) / _middle(latest["ours"]), **peaks},
    )


def _peaks(places: Places, folder: Path, precision: str) -> dict[str, float]:
    """Return MB of each side in a process of its own: at its peak, and of that what came after a first tiny step."""
    found = {}
    for who in ("theirs", "ours"):
        memory = _script(places, "peak", _PLAN, folder, who, precision)
        found[f"MB peak, {who}"] = memory["peak_mb"]
        found[f"MB beyond the libraries, {who}"] = memory["peak_mb"] - memory["before_mb"]
    return found


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _script(places: Places, what: str, plan: str, folder: Path, *more: str) -> dict[str, Any]:
    assert places.peer is not None
    command = [places.peer / "python", _HERE / "peer_step.py", what, plan, folder, *more]
    environment = {**places.environment, "PYTHONPATH": str(_HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
