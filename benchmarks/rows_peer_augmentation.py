"""Rows of nnU-Net v2's own list of transforms beside our augmentation; without a target, since the lists differ."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

from row import Agreement, Pair, Places, Row, Timed
from rows_training import KINDS, Kind, augmentation

_HERE = Path(__file__).resolve().parent
_SHOWN = ("128-cubed", "hippocampus")


def rows(places: Places) -> list[Row]:
    return [
        Row(
            name=f"augmentation-peer/{kind.name}",
            job=f"{kind.samples} training patches of {'x'.join(map(str, kind.patch))}, {kind.words}; torch on one "
            "core, each its own list of transforms",
            reference="nnU-Net v2's own, different list (no elastic deformation, a simulated low resolution, other "
            "probabilities and orders), its label maps of three levels included",
            target=None,
            prepare=lambda kind=kind: _pair(places, kind),
            repetitions=3,
            warm_up=False,
            needs_peer=True,
        )
        for kind in KINDS
        if kind.name in _SHOWN
    ]


def _pair(places: Places, kind: Kind) -> Pair:
    assert places.peer is not None
    command = [places.peer / "python", _HERE / "peer_augmentation.py", str(kind.samples), *map(str, kind.patch)]
    environment = {**places.environment, "OMP_NUM_THREADS": "1"}

    def reference() -> Timed:
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return Timed(json.loads(done.stdout.splitlines()[-1])["seconds"])

    return replace(
        augmentation(kind),
        reference=reference,
        agree=lambda *_: Agreement("not comparable", holds=True),
    )
