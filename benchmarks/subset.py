"""A Decathlon data set with some of the cases of another; images are linked, never copied or changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def make_subset(source: Path, target: Path, cases: Sequence[str], test_cases: Sequence[str]) -> None:
    """Write ``target`` with the named cases of ``source`` (case names without endings)."""
    description = json.loads((source / "dataset.json").read_text())
    training = [entry for entry in description["training"] if _name(entry["image"]) in cases]
    test = [
        entry
        for entry in description["test"]
        if _name(entry if isinstance(entry, str) else entry["image"]) in test_cases
    ]
    if len(training) != len(cases) or len(test) != len(test_cases):
        raise SystemExit(f"{source} does not hold all of {list(cases)} and {list(test_cases)}")
    description |= {"training": training, "test": test, "numTraining": len(training), "numTest": len(test)}
    paths = [part for entry in training for part in (entry["image"], entry["label"])]
    paths += [entry if isinstance(entry, str) else entry["image"] for entry in test]
    for relative in paths:
        link = target / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / relative).resolve())
    (target / "dataset.json").write_text(json.dumps(description, indent=1))


def _name(path: str) -> str:
    return Path(path).name.removesuffix(".nii.gz")
